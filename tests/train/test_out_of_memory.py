"""Out of memory: recognised on every device, and told with what helps."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from franca.config.recipes import load_recipe
from franca.distributed.ranks import Ranks
from franca.errors import FrancaError, OutOfMemory
from franca.objective.backends import MIB
from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.train import loop
from franca.train.assembly import build_networks
from franca.train.out_of_memory import Setting, advice, explain_out_of_memory, levers
from franca.train.pretrain import Outcome
from tests.train.test_pretrain import run_tiny
from tests.train.test_startup import machine_for

FEW = ("train.steps=4", "run.checkpoint_every_steps=2", "train.global_batch=8", "objective.koleo_group_size=2")


def setting(*overrides: str, world: int = 1, mode: str = "none", backend: Any = None) -> Setting:
    config = load_recipe("tiny", ["objective.koleo_group_size=2", *overrides])
    ranks = Ranks(world=world, local_world=world, launcher="torchrun")
    return Setting(config, machine_for(config, ranks=ranks, mode=mode), backend or Dense())


def test_other_errors_pass() -> None:
    here = setting()
    with pytest.raises(RuntimeError, match="shape mismatch"), explain_out_of_memory(here, build_networks(here.config)):
        raise RuntimeError("shape mismatch")


def test_levers_are_options_and_lower_the_estimate() -> None:
    here = setting("train.global_batch=24", "model.depth=6", "objective.num_prototypes=65536", world=2, mode="ddp")
    networks = build_networks(here.config)
    found = dict(levers(here))
    assert list(found) == [
        "performance.micro_batch=6",  # of 1, 2, 3, 4, 6, 12: those that hold whole KoLeo groups
        "performance.activation_checkpointing=block",
        "performance.prototypes=chunked",
        "performance.parallel=fsdp",
    ]
    for text, changed in found.items():
        assert changed.memory(networks).peak < here.memory(networks).peak, text
        load_recipe("tiny", ["train.global_batch=24", "objective.koleo_group_size=2", text])


def test_the_lever_that_saves_most_comes_first() -> None:
    logits = setting("objective.num_prototypes=65536", "train.global_batch=64")
    tokens = setting("objective.num_prototypes=64", "model.depth=24", "train.global_batch=8", backend=Chunked(64 * MIB))
    first = [
        re.findall(r"^  (\S+) +saves about .* [MG]iB$", advice(s, build_networks(s.config)), re.M)
        for s in (logits, tokens)
    ]
    assert first[0][0] == "performance.prototypes=chunked"
    assert first[1] == ["performance.activation_checkpointing=block", "performance.micro_batch=4"]


def test_what_is_pulled_already_is_not_advised() -> None:
    here = setting("performance.activation_checkpointing=block", "train.global_batch=2", backend=Chunked(64 * MIB))
    assert "No option of performance would help" in advice(here, build_networks(here.config))
    spread = replace(here, machine=replace(here.machine, parallel="fsdp"))
    assert "performance.parallel" not in advice(spread, build_networks(here.config))


def test_a_run_that_is_out_of_memory_goes_on_with_a_lever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_step, run = loop.train_step, tmp_path / "run"
    taken = []

    def third_does_not_fit(*arguments: Any, **options: Any) -> Any:
        taken.append(1)
        return real_step(*arguments, **options) if len(taken) < 3 else torch.empty(2**60)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", third_does_not_fit)
        with pytest.raises(OutOfMemory) as caught:
            run_tiny(run, *FEW)
    assert isinstance(caught.value, FrancaError) and caught.value.exit_code == 1
    text = str(caught.value)
    assert "allocate" in text.splitlines()[0] and "Estimated for this run: " in text
    lever = re.search(r"performance\.micro_batch=\d+", text)
    assert lever is not None
    outcome, printed = run_tiny(run, *FEW, lever[0], "performance.activation_checkpointing=block")
    assert outcome is Outcome.FINISHED and "step_00000002" in printed
    assert "changed since the run began: performance.micro_batch" in printed


def test_a_start_that_does_not_fit_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("franca.train.assembly.build_optimizer", full)
    with pytest.raises(OutOfMemory, match="Tried to allocate"):
        run_tiny(tmp_path / "run")
