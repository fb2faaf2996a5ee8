"""A run is saved and read back before its first step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from franca.distributed.ranks import Ranks
from franca.errors import SaveError
from franca.train import checkpoint, first_checkpoint
from franca.train.checkpoint import Progress, complete_checkpoints
from franca.train.first_checkpoint import save_and_load
from franca.train.optim import build_optimizer
from franca.train.parallel import parallelize
from franca.train.student_teacher import StudentTeacher
from tests.distributed.ranks import run_ranks
from tests.objective.factory import make_network
from tests.train.test_checkpoint import make
from tests.train.test_pretrain import run_tiny
from tests.train.test_step import parameters


def test_nothing_changes_and_the_checkpoint_stays(tmp_path: Path) -> None:
    networks, optimizer = make()
    before = {name: value.clone() for name, value in parameters(networks).items()}
    line = save_and_load(tmp_path, networks, optimizer, Progress())
    assert re.fullmatch(r"checkpoint of step 0: written in \d+\.\d s, read back the same in \d+\.\d s", line)
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [0]
    assert all(torch.equal(value, before[name]) for name, value in parameters(networks).items())


def _over_ranks(rank: int, folder: Path) -> str:
    networks = StudentTeacher(make_network(1), make_network(2))
    ranks = Ranks(rank=rank, world=2, local_rank=rank, local_world=2)
    parallelize(networks, "fsdp", ranks, device=torch.device("cpu"), precision="fp32")
    return save_and_load(folder, networks, build_optimizer(networks.student), Progress())


def test_ranks_save_and_read_their_shards(tmp_path: Path) -> None:
    assert all("read back the same" in line for line in run_ranks(_over_ranks, tmp_path))
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [0]


def test_other_values_than_were_written_end_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(path: Path, networks: StudentTeacher, optimizer: torch.optim.Optimizer) -> Progress:
        with torch.no_grad():
            networks.teacher.backbone.norm.bias[0] += 1e-3
        return Progress()

    monkeypatch.setattr(first_checkpoint.checkpoint, "load", wrong)
    with pytest.raises(SaveError, match="read back with other values"):
        save_and_load(tmp_path, *make(), Progress())


def test_a_run_that_stops_at_once_goes_on_from_step_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("franca.train.loop.train_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(tmp_path / "run", "train.steps=2")
    assert [step for step, _ in checkpoint.complete_checkpoints(tmp_path / "run/checkpoints")] == [0]
    _, printed = run_tiny(tmp_path / "run", "train.steps=2")
    assert "resuming" in printed and "finished 2 steps" in printed
