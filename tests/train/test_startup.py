"""The start-up table: its arithmetic, and what it counts."""

from __future__ import annotations

import re

import pytest
import torch

from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.distributed.ranks import Ranks
from franca.objective.backends import Choice
from franca.objective.dense import Dense
from franca.train.assembly import build_networks
from franca.train.machine import Machine
from franca.train.share import share_of_batch
from franca.train.startup import num_checkpoints, startup_facts


def machine_for(config: Config, *, ranks: Ranks | None = None, precision: str = "fp32", mode: str = "none") -> Machine:
    ranks = ranks or Ranks()
    return Machine(ranks, share_of_batch(config, ranks), torch.device("cpu"), precision, mode)


def facts(*overrides: str, start_step: int = 0) -> dict[str, str]:
    config = load_recipe("tiny", ["data.train=synthetic", "run.dir=x", *overrides])
    return startup_facts(
        config,
        build_networks(config),
        machine_for(config),
        prototypes=Choice(Dense(), "as asked"),
        data="drawn images",
        num_samples=10,
        start_step=start_step,
    )


def test_numbers_follow_from_the_options() -> None:
    found = facts(
        "train.steps=50",
        "train.global_batch=8",
        "performance.micro_batch=4",
        "objective.koleo_group_size=4",
        "run.checkpoint_every_steps=20",
        "optim.learning_rate=1e-3",
        "optim.scaling_rule=sqrt",
        "optim.reference_batch=32",
        "optim.warmup_steps=5",
    )
    assert found["global batch"] == "8 images = 2 x 4"
    assert found["images"] == "400 = 40.00 passes over 10"
    assert found["learning rate"].startswith("0.0005 (0.001, rule sqrt, reference batch 32), warm-up 5 steps")
    assert found["checkpoints"] == "every 20 steps, 3 to come"


def test_going_on_counts_what_is_left() -> None:
    found = facts("run.checkpoint_every_steps=10", start_step=10)
    assert found["steps"] == "20, going on after 10"
    assert found["checkpoints"] == "every 10 steps, 1 to come"


@pytest.mark.parametrize(("steps", "every", "expected"), [(20, 10, 2), (21, 10, 3), (1, 10, 1), (0, 10, 0)])
def test_the_last_step_always_has_a_checkpoint(steps: int, every: int, expected: int) -> None:
    assert num_checkpoints(steps, every) == expected


def test_the_way_of_the_prototype_losses_is_printed_with_its_reason() -> None:
    assert facts()["prototype losses"] == "dense; as asked"


def test_memory_and_disk_are_told() -> None:
    found = facts("run.checkpoint_every_steps=5", "run.keep_last=1")
    memory = r"7\.\d MiB at the peak: weights 1\.3 MiB, gradients .*, copies of weights .* MiB"
    assert re.fullmatch(memory, found["memory, estimated"])
    assert re.fullmatch(r"6\.\d MiB at the fullest: 2 checkpoints of 2\.\d MiB, 2 teachers of .* MiB", found["disk"])
