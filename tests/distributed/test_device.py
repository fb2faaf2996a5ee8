"""Names of devices and precisions."""

from __future__ import annotations

import pytest
import torch

from franca.distributed.device import resolve_device, resolve_precision
from franca.distributed.ranks import Ranks
from franca.errors import ConfigError

CPU = torch.device("cpu")


def test_names_are_taken_as_they_are() -> None:
    assert resolve_device("cpu") == CPU
    assert [resolve_precision(name, CPU) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]


def test_auto_is_something_this_machine_has() -> None:
    torch.zeros(1, device=resolve_device("auto"))
    assert resolve_precision("auto", CPU) in ("fp32", "bf16")
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cpu:1", "cuda:999"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match="device="):
        resolve_device(name)


def test_unknown_precision_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="auto, fp32, bf16, fp16"):
        resolve_precision("fp8", CPU)


def test_each_rank_takes_the_device_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    ranks = Ranks(rank=6, world=8, local_rank=2, local_world=4, launcher="torchrun")
    assert resolve_device("cuda", ranks) == torch.device("cuda:2")
    assert resolve_device("cpu", ranks) == CPU
    with pytest.raises(ConfigError, match="8 ranks; choose auto, cpu or cuda"):
        resolve_device("cuda:1", ranks)
    assert resolve_device("cuda:1", Ranks()) == torch.device("cuda:1")


def test_too_few_devices_for_the_ranks_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = Ranks(rank=3, world=4, local_rank=3, local_world=4, launcher="srun")
    with pytest.raises(ConfigError, match=r"4 ranks .* by srun, but rank 3 sees 2 CUDA"):
        resolve_device("cuda", ranks)
