"""The global batch is exact: ranks, modes and accumulation change nothing but rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from franca.batch import Batch
from franca.config.recipes import load_recipe
from franca.distributed.ranks import Ranks
from franca.distributed.shards import local, whole
from franca.errors import ConfigError
from franca.models.weights import load_backbone
from franca.objective.network import Network
from franca.train.assembly import build_networks
from franca.train.clipping import Clip, Norms
from franca.train.export import ExportTeacher
from franca.train.optim import build_optimizer
from franca.train.parallel import num_shards, parallelize, resolve_mode
from franca.train.step import train_step
from franca.train.student_teacher import StudentTeacher
from tests.distributed.ranks import run_ranks
from tests.objective.factory import cut, make_batch, make_network, make_objective
from tests.train.test_step import RATES

CPU = torch.device("cpu")
IMAGES = 32
State = dict[str, Tensor]


@dataclass
class Trace:
    """What three steps found: losses and norms of each, gradients of each, and the parameters at the end."""

    values: list[State]
    gradients: list[State]
    parameters: State


class ClipAndKeep:
    """Clips, and keeps the gradients of before."""

    def __init__(self) -> None:
        self.kept: list[State] = []

    def __call__(self, network: Network) -> Norms:
        found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        self.kept.append({name: whole(gradient).clone() for name, gradient in found.items()})
        return Clip(3.0)(network)


def batch_of(step: int) -> Batch:
    """A global batch; in the last step the second half of the images has no masked patch."""
    batch = make_batch(step, num_images=IMAGES)
    if step == 2:
        masks = batch.masks.unflatten(0, (2, IMAGES)).clone()
        masks[:, IMAGES // 2 :] = False
        masks = masks.flatten(0, 1)
        batch = replace(batch, masks=masks, masked_rows=masks.flatten().nonzero().flatten())
    return batch


def run_steps(
    rank: int,
    world: int,
    mode: str,
    accumulation: int,
    precision: str = "fp32",
    device: torch.device = CPU,
    *,
    checkpointed_blocks: int = 0,
    stochastic_depth: float = 0.0,
) -> Trace:
    """Three steps of one rank, which takes its share of every global batch."""
    networks = StudentTeacher(make_network(1, stochastic_depth=stochastic_depth), make_network(2))
    networks.student.backbone.checkpoint_activations(checkpointed_blocks)
    ranks = Ranks(rank=rank, world=world, local_rank=rank % 2, local_world=min(world, 2), launcher="torchrun")
    parallelize(networks, mode, ranks, device=device, precision=precision)
    optimizer, objective, clip = build_optimizer(networks.student), make_objective(), ClipAndKeep()
    objective.precision = None if precision == "fp32" else torch.bfloat16
    values = []
    for step in range(3):
        mine = cut(batch_of(step), world * accumulation)[rank * accumulation :][:accumulation]
        mine = [batch.to(device) for batch in mine]
        result = train_step(networks, objective, optimizer, mine, RATES, clip=clip)  # type: ignore[arg-type]
        assert result.applied
        parts = {f"norm {name}": norm for name, norm in result.norms.parts.items()}
        values.append({"total": result.losses.total, "norm": result.norms.total} | result.losses.parts | parts)
    state = {name: whole(parameter.detach()) for name, parameter in networks.named_parameters()}
    return Trace(values, clip.kept, state)


def assert_same(found: Trace, expected: Trace) -> None:
    """Losses, norms and gradients of every step to 1e-5."""
    for mine, wanted in zip(found.values, expected.values, strict=True):
        for name, value in wanted.items():
            torch.testing.assert_close(mine[name], value, rtol=1e-5, atol=1e-5, msg=name)
    for number, (mine, wanted) in enumerate(zip(found.gradients, expected.gradients, strict=True)):
        assert mine.keys() == wanted.keys() == dict(make_network(1).named_parameters()).keys()
        for name, value in wanted.items():
            # After the first step AdamW has divided gradients by themselves, which blows up those that are all but 0.
            error = (mine[name] - value).norm() / value.norm().clamp(min=1e-3)
            assert error < (1e-5 if number == 0 else 1e-4), (number, name, error)
    assert found.parameters.keys() == expected.parameters.keys()
    for name, value in expected.parameters.items():
        torch.testing.assert_close(found.parameters[name], value, rtol=1e-3, atol=3e-4, msg=name)


@pytest.fixture(scope="module")
def expected() -> Trace:
    """One rank, one micro-batch."""
    return run_steps(0, 1, "none", 1)


def test_four_micro_batches_are_one_batch(expected: Trace) -> None:
    assert_same(run_steps(0, 1, "none", 4), expected)


def _all_modes(rank: int, world: int, modes: list[tuple[str, int]]) -> list[Trace]:
    return [run_steps(rank, world, mode, accumulation) for mode, accumulation in modes]


def check(expected: Trace, world: int, modes: list[tuple[str, int]]) -> None:
    """Every rank finds what one rank finds."""
    for traces in run_ranks(_all_modes, world, modes, world_size=world):
        for trace in traces:
            assert_same(trace, expected)


def test_two_ranks_are_one_batch(expected: Trace) -> None:
    check(expected, 2, [("ddp", 2), ("fsdp", 1)])


@pytest.mark.slow
def test_four_ranks_are_one_batch(expected: Trace) -> None:
    check(expected, 4, [("ddp", 1), ("fsdp", 1), ("fsdp", 2), ("hsdp", 2)])


@pytest.mark.slow
def test_ten_times_over_without_a_hang(expected: Trace) -> None:
    for _ in range(10):
        check(expected, 2, [("ddp", 1), ("fsdp", 1)])


def _with_checkpointing(rank: int, world: int, mode: str) -> list[Trace]:
    """Everything kept; what enters each block; what enters both."""
    return [run_steps(rank, world, mode, 2, checkpointed_blocks=every, stochastic_depth=0.5) for every in range(3)]


def assert_checkpointing_changes_nothing(traces: list[Trace]) -> None:
    """Losses, gradients and parameters of three steps, also where branches are skipped at random."""
    expected, *others = traces
    for found in others:
        torch.testing.assert_close(found.values, expected.values, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found.gradients, expected.gradients, rtol=1e-6, atol=1e-6)
        assert found.parameters.keys() == expected.parameters.keys()
        torch.testing.assert_close(found.parameters, expected.parameters, rtol=1e-6, atol=1e-6)


def test_activation_checkpointing_changes_no_gradient() -> None:
    assert_checkpointing_changes_nothing(_with_checkpointing(0, 1, "none"))


@pytest.mark.parametrize("mode", ["fsdp", pytest.param("ddp", marks=pytest.mark.slow)])
def test_activation_checkpointing_over_ranks_changes_no_gradient(mode: str) -> None:
    for traces in run_ranks(_with_checkpointing, 2, mode):
        assert_checkpointing_changes_nothing(traces)


def _bf16(rank: int) -> list[float]:
    return [value["total"].item() for value in run_steps(rank, 2, "fsdp", 1, "bf16").values]


@pytest.mark.slow
def test_bf16_over_ranks_is_that_of_one() -> None:
    alone = [value["total"].item() for value in run_steps(0, 1, "none", 1, "bf16").values]
    for found in run_ranks(_bf16):
        assert found == pytest.approx(alone, rel=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_shards_travel_in_bf16(tmp_path: Path) -> None:
    device = torch.device("cuda", 0)
    alone = run_steps(0, 1, "none", 1, "bf16", device)
    rendezvous = f"file://{tmp_path}/rendezvous"
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=rendezvous, rank=0, world_size=1)
    try:
        sharded = run_steps(0, 1, "fsdp", 1, "bf16", device)
    finally:
        dist.destroy_process_group()
    for found, wanted in zip(sharded.values, alone.values, strict=True):
        torch.testing.assert_close(found["total"], wanted["total"], rtol=1e-2, atol=0.0)


def _shapes(rank: int, export: Path) -> tuple[dict[str, int], list[str], set[torch.dtype]]:
    networks = StudentTeacher(make_network(1), make_network(2))
    parallelize(networks, "fsdp", Ranks(rank=rank, world=2, local_world=2), device=CPU, precision="fp32")
    ExportTeacher(networks, mean=(0.5,) * 3, std=(0.5,) * 3, image_size_px=16, info={})(export, 7)
    held = {name: local(p).numel() for name, p in networks.named_parameters()}
    return held, list(networks.state_dict()), {p.dtype for p in networks.parameters()}


def test_a_rank_holds_its_shards_under_the_same_names_and_exports_the_whole(tmp_path: Path) -> None:
    plain = StudentTeacher(make_network(1), make_network(2))
    total = {name: p.numel() for name, p in plain.named_parameters()}
    (first, names, dtypes), (second, _, _) = run_ranks(_shapes, tmp_path / "teacher.safetensors")
    assert names == list(plain.state_dict()) and dtypes == {torch.float32}
    assert {name: first[name] + second[name] for name in total} == total
    assert sum(first.values()) < 0.65 * sum(total.values())
    exported, wanted = load_backbone(tmp_path / "teacher.safetensors"), plain.teacher.backbone.state_dict()
    assert exported.export_info == {"step": 7} and exported.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in exported.state_dict().items())


def ranks_of(world: int, local_world: int) -> Ranks:
    return Ranks(world=world, local_world=local_world, launcher="torchrun")


def networks_of(arch: str) -> StudentTeacher:
    """Of the paper's recipe, on the meta device."""
    config = load_recipe("vits14", [f"model.arch={arch}", "objective.num_prototypes=131072"], need_data=False)
    return build_networks(config)


def test_auto_goes_by_size() -> None:
    large, giant = networks_of("vit_large"), networks_of("vit_giant")
    assert [resolve_mode("auto", networks, ranks_of(4, 4)) for networks in (large, giant)] == ["ddp", "fsdp"]
    assert [resolve_mode(name, giant, Ranks()) for name in ("auto", "none", "fsdp")] == ["none"] * 3


def test_modes_that_do_not_fit_the_ranks() -> None:
    networks = networks_of("vit_small")
    with pytest.raises(ConfigError, match="parallel=none is for one rank, but torchrun started 4"):
        resolve_mode("none", networks, ranks_of(4, 4))
    with pytest.raises(ConfigError, match="as many ranks on every machine"):
        resolve_mode("hsdp", networks, ranks_of(5, 3))


def _parallelize_unevenly(rank: int) -> str:
    """Ranks 0 and 1 on one machine, 2 and 3 on machines of their own."""
    ranks = Ranks(rank=rank, world=4, local_rank=0, local_world=(2, 2, 1, 1)[rank], launcher="srun")
    with pytest.raises(ConfigError) as caught:
        parallelize(networks_of("vit_small"), "hsdp", ranks, device=torch.device("cpu"), precision="fp32")
    return str(caught.value)


def test_machines_with_different_numbers_of_ranks() -> None:
    assert all("they have [1, 2]" in said for said in run_ranks(_parallelize_unevenly, world_size=4))


def test_shards_by_mode() -> None:
    assert [num_shards(mode, ranks_of(8, 4)) for mode in ("none", "ddp", "hsdp", "fsdp")] == [1, 1, 4, 8]
