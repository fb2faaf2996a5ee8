"""The paper's recipes at their real sizes: what they ask for, and what one rank holds, without allocating any of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from franca import assets
from franca.config.recipes import differences, load_recipe
from franca.config.schema import Config
from franca.distributed.ranks import Ranks
from franca.distributed.shards import local
from franca.objective.backends import Choice
from franca.objective.chunked import Chunked
from franca.train.assembly import build_networks, peak_learning_rate
from franca.train.machine import Machine
from franca.train.memory import count_parameters, estimate_memory
from franca.train.parallel import num_shards, parallelize, resolve_mode
from franca.train.share import share_of_batch
from franca.train.startup import startup_facts

GPU_BYTES = 80 * 10**9
GPUS_A_MACHINE = 8


@dataclass(frozen=True)
class Stated:
    """What the paper says in section 2 and its tables of settings and of compute."""

    arch: str
    global_batch: int
    learning_rate: float
    stochastic_depth: float
    gpus: int
    gpu_hours: str


FRANCA = {
    "vitb14_in21k": Stated("vit_base", 2048, 1e-3, 0.1, 32, "1,504"),
    "vitl14_in21k": Stated("vit_large", 3072, 3.5e-4, 0.4, 64, "5,952"),
    "vitl14_laion": Stated("vit_large", 3072, 3.5e-4, 0.4, 64, "93 hours"),
    "vitg14_laion": Stated("vit_giant", 3072, 3.5e-4, 0.4, 128, "19,992"),
}
BASELINES = {
    "vitb14_in21k_dinov2": replace(FRANCA["vitb14_in21k"], gpu_hours="1,324"),
    "vitl14_in21k_dinov2": replace(FRANCA["vitl14_in21k"], gpu_hours="5,677"),
}
PAPER = FRANCA | BASELINES


def recipe(name: str, *overrides: str) -> Config:
    return load_recipe(name, ["data.train=images", "run.dir=run", *overrides])


@pytest.mark.parametrize("name", PAPER)
def test_values_are_those_of_the_paper(name: str) -> None:
    config, stated = recipe(name), PAPER[name]
    assert (config.model.arch, config.model.patch_size_px, config.model.num_registers) == (stated.arch, 14, 0)
    assert (config.train.steps, config.optim.warmup_steps) == (625_000, 100_000)
    assert config.train.global_batch == stated.global_batch
    assert peak_learning_rate(config) == stated.learning_rate
    assert config.model.stochastic_depth == stated.stochastic_depth
    assert (config.data.global_size_px, config.objective.num_prototypes) == (224, 131_072)
    assert config.objective.nesting == ([1.0] if name in BASELINES else [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16])
    assert config.data.global_scale == ([0.48, 1.0] if "laion" in name else [0.32, 1.0])


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_differs_in_its_levels_alone(name: str) -> None:
    changed = differences(recipe(name.removesuffix("_dinov2")), recipe(name))
    assert len(changed) == 1 and changed[0].startswith("objective.nesting: ")


@pytest.mark.parametrize("name", PAPER)
def test_the_header_agrees_with_the_recipe(name: str) -> None:
    header, config, stated = assets.path("configs", f"{name}.yaml").read_text(), recipe(name), PAPER[name]
    found = re.search(r"^# hardware  (\d+) H100 of 80 GB, (\d+) images each", header, re.MULTILINE)
    assert found is not None
    gpus, images = map(int, found.groups())
    assert gpus == stated.gpus and stated.gpu_hours in header
    assert images == config.performance.micro_batch == config.objective.koleo_group_size
    assert gpus * images == config.train.global_batch
    assert re.search(r"^# result    not yet run; the paper reports .* \(table \d", header, re.MULTILINE)


@contextmanager
def ranks_that_do_nothing(world: int) -> Iterator[None]:
    """A process group of which only this rank exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("name", PAPER)
def test_a_rank_holds_its_shards_and_fits_into_a_gpu(name: str) -> None:
    config, world = recipe(name), PAPER[name].gpus
    networks, cpu = build_networks(config), torch.device("cpu")
    ranks = Ranks(world=world, local_world=GPUS_A_MACHINE, launcher="torchrun", rendezvous="env://")
    mode = resolve_mode("auto", networks, ranks)
    machine = Machine(ranks, share_of_batch(config, ranks), torch.device("cuda"), "bf16", mode)
    assert mode == ("fsdp" if name == "vitg14_laion" else "ddp") and machine.share.accumulation == 1
    chunked = Chunked(512 * 2**20)
    memory = estimate_memory(config, networks, machine, chunked)
    assert memory.peak < GPU_BYTES, str(memory)
    facts = startup_facts(
        config, networks, machine, prototypes=Choice(chunked, ""), data="images", num_samples=13_153_000
    )
    assert facts["memory, estimated a rank"] == str(memory)
    assert (
        facts["global batch"]
        == f"{config.train.global_batch:,} images = {world} ranks x 1 x {machine.share.micro_batch}"
    )

    whole = count_parameters(networks)
    with ranks_that_do_nothing(world):
        parallelize(networks, mode, ranks, device=cpu, precision="bf16")
        assert all(parameter.is_meta for parameter in networks.parameters())
        held = sum(local(parameter).numel() for parameter in networks.parameters())
    assert held == pytest.approx(whole / num_shards(mode, ranks), rel=0.05)  # a rank's part of each, rounded up
    assert memory.weights == pytest.approx(4 * held, rel=0.05)


def test_one_gpu_trains_a_small_model() -> None:
    config = recipe("vits14")
    networks = build_networks(config)
    machine = Machine(Ranks(), share_of_batch(config, Ranks()), torch.device("cuda"), "bf16", "none")
    assert machine.share.accumulation == 4
    assert estimate_memory(config, networks, machine, Chunked(512 * 2**20)).peak < GPU_BYTES
    eight = Ranks(world=8, local_world=8, launcher="torchrun")
    assert str(share_of_batch(config, eight)) == "8 ranks x 1 x 64"
