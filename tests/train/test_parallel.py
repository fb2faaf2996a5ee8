"""Modes: which go with which ranks, what a rank holds, and what may not change a gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from franca.config.recipes import load_recipe
from franca.distributed.ranks import Ranks
from franca.distributed.shards import local
from franca.errors import ConfigError
from franca.models.weights import load_backbone
from franca.train.assembly import build_networks
from franca.train.export import ExportTeacher
from franca.train.parallel import num_shards, parallelize, resolve_mode
from franca.train.student_teacher import StudentTeacher
from tests.distributed.ranks import run_ranks
from tests.objective.factory import make_network
from tests.train.layouts import CPU, Trace, run_steps


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
