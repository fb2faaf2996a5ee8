from __future__ import annotations

from dataclasses import replace

import pytest

from franca.config.derived import (
    dense_logits_bytes,
    koleo_group_size,
    micro_batch,
    num_heads,
    prototype_rows,
    width,
)
from franca.config.schema import Config, DataConfig, ModelConfig, ObjectiveConfig, PerformanceConfig, TrainConfig


def test_the_architecture_fills_in_what_is_not_given() -> None:
    assert (width(ModelConfig(arch="vit_small")), num_heads(ModelConfig(arch="vit_small"))) == (384, 6)
    assert (width(ModelConfig(width=96)), num_heads(ModelConfig(num_heads=4))) == (96, 4)


def test_a_micro_batch_is_the_whole_batch_unless_given() -> None:
    assert micro_batch(Config(train=TrainConfig(global_batch=48))) == 48
    assert micro_batch(Config(performance=PerformanceConfig(micro_batch=8))) == 8


@pytest.mark.parametrize(("batch", "group"), [(2048, 32), (48, 24), (37, 1), (8, 8), (31, 31), (66, 22)])
def test_koleo_takes_the_largest_divisor_up_to_32(batch: int, group: int) -> None:
    config = Config(train=TrainConfig(global_batch=batch))
    assert koleo_group_size(config) == group
    smaller = replace(config, performance=PerformanceConfig(micro_batch=1))
    assert koleo_group_size(smaller) == group, "a micro-batch must not change the loss"


def test_prototype_rows_are_the_teachers_of_a_step_and_the_students_of_a_micro_batch() -> None:
    config = Config(
        data=DataConfig(global_size_px=28, num_local_crops=8),  # 2 x 2 patches
        objective=ObjectiveConfig(mask_probability=0.5, mask_ratio=[0.25, 0.75]),
        train=TrainConfig(global_batch=64),
    )
    assert prototype_rows(config, micro_batch=16, world=1) == {"dino": (2 * 64, 10 * 16), "ibot": (2 * 64, 2 * 16)}
    assert prototype_rows(config, micro_batch=16, world=4) == {"dino": (2 * 16, 10 * 16), "ibot": (2 * 16, 2 * 16)}
    alone = replace(config, objective=ObjectiveConfig(dino_weight=0))
    assert list(prototype_rows(alone, micro_batch=16, world=1)) == ["ibot"]


def test_dense_logits_are_counted_where_there_are_most() -> None:
    objective = ObjectiveConfig(num_prototypes=1000, nesting=[1, 0.5], ibot_weight=0)
    config = Config(objective=objective, train=TrainConfig(global_batch=100), data=DataConfig(num_local_crops=8))
    assert dense_logits_bytes(config, micro_batch=100, world=1) == 12 * (10 * 100) * 1500  # the students' losses
    assert dense_logits_bytes(config, micro_batch=1, world=1) == 12 * (2 * 100) * 1000  # the teacher's assignment
    assert dense_logits_bytes(config, micro_batch=1, world=2) == 12 * (2 * 50) * 1000
    nothing = replace(config, objective=replace(objective, dino_weight=0))
    assert dense_logits_bytes(nothing, micro_batch=1, world=1) == 0
