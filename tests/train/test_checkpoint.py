"""Checkpoints: exact, strict, and safe from a kill."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from franca.errors import CheckpointError
from franca.train import checkpoint
from franca.train.checkpoint import Progress, complete_checkpoints, load, load_networks, prune, save
from franca.train.clipping import Clip
from franca.train.optim import build_optimizer
from franca.train.step import train_step
from franca.train.student_teacher import StudentTeacher
from tests.objective.factory import make_batch, make_network, make_objective
from tests.train.test_step import RATES, parameters


def make(seed: int = 1) -> tuple[StudentTeacher, torch.optim.Optimizer]:
    networks = StudentTeacher(make_network(seed), make_network(seed + 1))
    return networks, build_optimizer(networks.student)


def train(networks: StudentTeacher, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        train_step(networks, make_objective(), optimizer, [make_batch(step)], RATES, clip=Clip(3.0))


@pytest.mark.parametrize("at", [0, 2])
def test_going_on_is_bitwise_the_same_also_from_step_zero(tmp_path: Path, at: int) -> None:
    networks, optimizer = make()
    train(networks, optimizer, range(at))
    path = save(tmp_path, networks, optimizer, Progress(at, {"images": 5}))
    train(networks, optimizer, range(at, 4))

    resumed, other = make(seed=7)
    assert load(path, resumed, other) == Progress(at, {"images": 5})
    train(resumed, other, range(at, 4))
    expected = parameters(networks)
    for name, value in parameters(resumed).items():
        assert torch.equal(value, expected[name]), name


def test_names_and_shapes_must_agree(tmp_path: Path) -> None:
    networks, optimizer = make()
    path = save(tmp_path, networks, optimizer, Progress())
    other, _ = make()
    del other.student.heads["ibot"], other.teacher.heads["ibot"]
    with pytest.raises(CheckpointError, match=r"unexpected: networks\.student\.heads\.ibot"):
        load_networks(path, other)
    wider, _ = make()
    wider.student.backbone.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 20))
    wider.student.backbone.extra = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(CheckpointError) as caught:
        load_networks(path, wider)
    assert "missing: networks.student.backbone.extra" in str(caught.value)
    assert "cls_token: (1, 1, 16) in the file, (1, 1, 20) in this run" in str(caught.value)


def test_an_unfinished_checkpoint_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, optimizer = make()
    save(tmp_path, networks, optimizer, Progress(1))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_sync", die)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, networks, optimizer, Progress(2))
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [1]
    save(tmp_path, networks, optimizer, Progress(2))
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [1, 2]


def test_a_damaged_checkpoint_is_reported(tmp_path: Path) -> None:
    networks, optimizer = make()
    path = save(tmp_path, networks, optimizer, Progress(1))
    (data,) = path.glob("*.distcp")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(path, networks, optimizer)


def test_prune_keeps_the_newest_and_the_milestones(tmp_path: Path) -> None:
    networks, optimizer = make()
    path = save(tmp_path, networks, optimizer, Progress(0))
    for step in range(1, 8):
        shutil.copytree(path, tmp_path / checkpoint.step_name(step))
    prune(tmp_path, keep_last=2, keep_every_steps=3)
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [0, 3, 6, 7]
