"""The start-up table: its arithmetic, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.distributed.ranks import Ranks
from franca.objective.backends import Backend, Choice
from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.train.assembly import build_networks
from franca.train.machine import Machine
from franca.train.share import share_of_batch
from franca.train.startup import count_parameters, estimate_memory, num_checkpoints, startup_facts


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


def test_logits_take_a_chunk_or_all_that_the_dense_form_holds() -> None:
    config = load_recipe(
        "tiny",
        [
            "objective.num_prototypes=4096",
            "objective.nesting=[1,1/2]",
            "objective.ibot_weight=0",
            "data.num_local_crops=2",
        ],
    )
    networks = build_networks(config)
    assert estimate_memory(config, networks, machine_for(config), Dense())["prototype logits"] == 3 * 4 * (4 * 8) * 6144
    assert estimate_memory(config, networks, machine_for(config), Chunked(2**20))["prototype logits"] == 2**20


def test_memory_of_weights_is_exact_and_that_of_the_batch_grows_with_it() -> None:
    small, large = (load_recipe("tiny", [f"train.global_batch={batch}"]) for batch in (8, 16))
    networks = build_networks(small)
    student = count_parameters(networks.student)
    memory = estimate_memory(small, networks, machine_for(small), Dense())
    assert memory["weights"] == 8 * student and memory["gradients"] == 4 * student
    assert memory["optimizer"] == 8 * student
    assert estimate_memory(large, networks, machine_for(large), Dense())["activations"] == 2 * memory["activations"]
    half = estimate_memory(small, networks, machine_for(small, precision="bf16"), Dense())
    assert half["activations"] == memory["activations"] // 2


def test_a_rank_holds_its_part() -> None:
    config = load_recipe("tiny", ["objective.koleo_group_size=2"])
    networks, ranks = build_networks(config), Ranks(world=4, local_world=2, launcher="srun")
    alone = estimate_memory(config, networks, machine_for(config), Dense())
    for mode, shards in (("ddp", 1), ("hsdp", 2), ("fsdp", 4)):
        found = estimate_memory(config, networks, machine_for(config, ranks=ranks, mode=mode), Dense())
        for purpose in ("weights", "gradients", "optimizer"):
            assert found[purpose] == alone[purpose] // shards
        for purpose in ("activations", "prototype logits"):
            assert found[purpose] == alone[purpose] // 4


def test_gradients_of_prototypes_wait_beside_the_kept_ones_from_the_second_micro_batch_on() -> None:
    options = ["train.global_batch=8", "objective.koleo_group_size=2"]
    once, twice = (load_recipe("tiny", [*options, f"performance.micro_batch={images}"]) for images in (8, 4))
    networks = build_networks(once)
    prototypes = sum(p.numel() for name, p in networks.student.named_parameters() if ".prototypes." in name)
    student = count_parameters(networks.student)
    assert prototypes

    def gradients(config: Config, backend: Backend, **where: Any) -> int:
        return estimate_memory(config, networks, machine_for(config, **where), backend)["gradients"]

    assert gradients(once, Chunked(2**20)) == gradients(twice, Dense()) == 4 * student
    assert gradients(twice, Chunked(2**20)) == 4 * (student + prototypes)
    ranks = Ranks(world=2, local_world=2, launcher="srun")
    assert gradients(twice, Chunked(2**20), ranks=ranks, mode="fsdp") == 2 * student + 2 * prototypes
