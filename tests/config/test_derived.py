from __future__ import annotations

from dataclasses import replace

import pytest

from franca.config.derived import koleo_group_size, micro_batch, num_heads, width
from franca.config.schema import Config, ModelConfig, PerformanceConfig, TrainConfig


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
