"""The memory estimate: exact where it can be, and near a measured peak elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from franca.config.recipes import load_recipe
from franca.data.collate import PretrainingData
from franca.data.loader import make_loader
from franca.data.sources import open_training_source
from franca.distributed.ranks import Ranks
from franca.objective.backends import Backend
from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.objective.prototypes import set_backend
from franca.train import assembly
from franca.train.checkpoint import Progress
from franca.train.clipping import Clip
from franca.train.health import MeasureHealth
from franca.train.loop import StepEvent
from franca.train.memory import Memory, count_parameters, estimate_memory, size_text
from franca.train.share import share_of_batch
from franca.train.step import train_step
from tests.train.test_startup import machine_for

MIB = 2**20
BATCH = "train.global_batch=32"
PAIRS = "objective.koleo_group_size=2"


def estimate(*overrides: str, backend: Backend | None = None, **where: Any) -> Memory:
    """Of the tiny recipe."""
    config = load_recipe("tiny", overrides)
    return estimate_memory(config, assembly.build_networks(config), machine_for(config, **where), backend or Dense())


@dataclass(frozen=True)
class Peaks:
    """Bytes that a step of the tiny recipe holds at most, that the look at its health does, and the estimate."""

    step: int
    health: int
    estimated: int


def measured_peaks(precision: str, *overrides: str) -> Peaks:
    config = load_recipe("tiny", ["data.train=synthetic", *overrides])
    networks = assembly.build_networks(config)
    machine = machine_for(config, precision=precision)
    backend = assembly.choose_prototypes(config, machine).backend
    networks.initialize(0, torch.device("cpu"))
    optimizer = assembly.build_optimizer(config, networks)
    for network in (networks.student, networks.teacher):
        set_backend(network, backend)
    share = share_of_batch(config, Ranks())
    data = PretrainingData.from_config(open_training_source(config.data, config.performance), config)
    batches = list(
        make_loader(data, start=0, stop=share.accumulation, workers=0, device=machine.device, item=share.item)
    )
    held = sum(p.nbytes for p in networks.parameters()) + sum(
        value.nbytes for state in optimizer.state.values() for value in state.values()
    )
    held += sum(batch.global_crops.nbytes + batch.local_crops.nbytes for batch in batches)
    objective, rates = assembly.build_objective(config, precision=precision), assembly.build_schedule(config)(0)
    with most_bytes() as in_step:
        result = train_step(networks, objective, optimizer, batches, rates, clip=Clip(3.0))
    measure = MeasureHealth(networks, objective, optimizer, every_steps=1, log_every_steps=1)
    event = StepEvent(Progress(step=1), 1, result, rates, batches, seconds=1.0, waited_seconds=0.0, stopping=False)
    with most_bytes() as in_health:
        assert measure(event)
    return Peaks(held + in_step[0], held + in_health[0], estimate_memory(config, networks, machine, backend).peak)


@contextmanager
def most_bytes() -> Iterator[list[int]]:
    """Gives a list that holds, at the end, the most bytes that were there on top of those at the beginning."""
    most: list[int] = []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield most
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = [event.nbytes() for event in sorted(events, key=lambda e: e.start_ns()) if event.name() == "[memory]"]
    assert len(changes) > 300
    most.append(max(accumulate(changes)))


@pytest.mark.parametrize(
    ("precision", "overrides"),
    [
        ("fp32", (BATCH,)),
        ("fp32", (BATCH, "performance.micro_batch=16", PAIRS)),
        ("fp32", (BATCH, "model.depth=6", "performance.activation_checkpointing=block")),
        ("fp32", (BATCH, "model.depth=6", "performance.activation_checkpointing=3", "model.stochastic_depth=0.5")),
        ("fp32", (BATCH, "model.ffn=mlp", "model.layer_scale=null", "model.stochastic_depth=0")),
        ("bf16", (BATCH,)),
        ("bf16", (BATCH, "objective.num_prototypes=2048", "performance.prototype_chunk_mib=1")),
    ],
)
def test_the_estimate_is_within_a_tenth_of_a_measured_peak(precision: str, overrides: tuple[str, ...]) -> None:
    peaks = measured_peaks(precision, *overrides)
    assert peaks.estimated == pytest.approx(peaks.step, rel=0.1)
    assert peaks.health < peaks.step  # no student's activations are there when the teacher looks once more


def test_weights_gradients_and_optimizer_are_exact() -> None:
    config = load_recipe("tiny")
    student = count_parameters(assembly.build_networks(config).student)
    memory = estimate()
    assert (memory.weights, memory.gradients, memory.optimizer) == (8 * student, 4 * student, 8 * student)


def test_the_batch_costs_in_proportion() -> None:
    small, large = estimate("train.global_batch=8"), estimate("train.global_batch=16")
    assert (large.images, large.activations) == (2 * small.images, 2 * small.activations)
    cut = estimate("train.global_batch=16", "performance.micro_batch=8", PAIRS)
    assert (cut.images, cut.activations) == (large.images, small.activations)


def test_checkpointing_keeps_one_run_of_blocks() -> None:
    depth = "model.depth=6"
    none, block, pairs = (
        estimate(depth, f"performance.activation_checkpointing={value}") for value in ("none", "block", "2")
    )
    assert block.activations < pairs.activations < none.activations
    assert block.weights == none.weights


def test_logits_take_a_chunk_or_all_that_the_dense_form_holds() -> None:
    options = ["objective.num_prototypes=4096", "objective.nesting=[1,1/2]", "objective.ibot_weight=0"]
    assert estimate(*options).logits == 3 * 4 * (4 * 8) * 6144
    gradients_that_wait = 4 * 32 * 6144
    assert estimate(*options, backend=Chunked(MIB)).logits == MIB + gradients_that_wait


def test_a_rank_holds_its_part() -> None:
    ranks = Ranks(world=4, local_world=2, launcher="srun")
    alone = estimate(PAIRS)
    for mode, shards in (("ddp", 1), ("hsdp", 2), ("fsdp", 4)):
        found = estimate(PAIRS, ranks=ranks, mode=mode)
        for purpose in ("weights", "gradients", "optimizer"):
            assert getattr(found, purpose) == getattr(alone, purpose) // shards
        for purpose in ("images", "activations", "logits"):
            assert getattr(found, purpose) == getattr(alone, purpose) // 4
        assert found.copies > alone.copies  # gathered units


def test_gradients_appear_as_activations_go_in_the_first_micro_batch_alone() -> None:
    once, twice = (estimate(PAIRS, f"performance.micro_batch={images}") for images in (8, 4))
    kept = once.weights + once.optimizer + once.images
    assert once.peak == kept + once.activations + once.heads + once.logits + once.copies
    assert twice.peak == kept + twice.activations + twice.heads + twice.logits + twice.copies + twice.gradients


def test_sizes_in_words() -> None:
    assert [size_text(size) for size in (0, 1.5 * MIB, 2048 * MIB)] == ["0.0 MiB", "1.5 MiB", "2.0 GiB"]
