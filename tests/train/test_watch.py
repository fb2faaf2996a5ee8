"""Watching real, short runs: each alarm rings where its cause is forced, once; a healthy run hears none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from franca.launch.progress import read_progress
from franca.train import initial_weights
from franca.train.alarms import ALARMS, Alarms
from franca.train.checkpoint import Progress
from franca.train.student_teacher import StudentTeacher
from franca.train.watch import Watch
from tests.train.test_alarms import BAD, line
from tests.train.test_hooks import event_of
from tests.train.test_pretrain import metrics_of, run_tiny

LIVELY = ("model.layer_scale=null", "model.init_std=0.09", "run.checkpoint_every_steps=100")
"""Initial weights whose features differ from image to image."""
OFTEN = ("train.steps=4", "run.health_every_steps=1")
FIXED_TEACHER = ("optim.teacher_momentum=1", "optim.teacher_momentum_end=1")


def zero_the_backbone(networks: StudentTeacher) -> None:
    for parameter in networks.teacher.backbone.parameters():
        parameter.zero_()


def zero_the_prototypes(networks: StudentTeacher) -> None:
    for head in networks.teacher.heads.values():
        for prototypes in head.prototypes:
            prototypes.weight[1:] = 0


def nothing(networks: StudentTeacher) -> None:
    pass


def after_initialization(monkeypatch: pytest.MonkeyPatch, change: Callable[[StudentTeacher], None]) -> None:
    """Change the weights that a run begins with."""
    original = initial_weights.initialize

    def initialize(networks: StudentTeacher, *args: Any) -> str:
        said = original(networks, *args)
        with torch.no_grad():
            change(networks)
        return said

    monkeypatch.setattr(initial_weights, "initialize", initialize)


CAUSES: dict[str, tuple[Callable[[StudentTeacher], None], tuple[str, ...]]] = {
    "loss_at_ln_k": (nothing, ("optim.learning_rate=0", "optim.min_learning_rate=0")),
    "constant_teacher": (zero_the_backbone, FIXED_TEACHER),
    # Where tokens are fewer than prototypes, each is given several.
    "certain_teacher": (
        nothing,
        ("optim.teacher_temperature=1e-4", "optim.teacher_temperature_end=1e-4", "objective.num_prototypes=16"),
    ),
    "uniform_teacher": (nothing, ("optim.teacher_temperature=1000", "optim.teacher_temperature_end=1000")),
    "dead_prototypes": (zero_the_prototypes, FIXED_TEACHER),
}


@pytest.mark.parametrize("name", [alarm.name for alarm in ALARMS])
def test_each_alarm_rings_once_where_its_cause_is_forced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, overrides = CAUSES[name]
    after_initialization(monkeypatch, change)
    _, output = run_tiny(tmp_path / "run", *LIVELY, *OFTEN, *overrides)
    assert output.count(f"alarm {name}: ") == 1
    assert [record.get(f"alarm/{name}") for record in metrics_of(tmp_path / "run")] == [None, None, 1, 1]
    assert read_progress(tmp_path / "run").alarm.startswith("step 1: ")


@pytest.mark.slow
def test_a_healthy_run_hears_none(tmp_path: Path) -> None:
    small = ("data.global_size_px=24", "data.local_size_px=16", "train.global_batch=32", "model.init_std=0.09")
    size = ("model.width=64", "model.depth=2", "model.num_heads=1", "data.synthetic.num_images=512")
    run = tmp_path / "run"
    _, output = run_tiny(run, *small, *size, "train.steps=200", recipe="demo")
    assert "alarm" not in output and not any(name.startswith("alarm/") for name in metrics_of(run)[-1])
    assert "effective_rank" in metrics_of(run)[-1]


def watch_with(said: list[str], measured: dict[str, float], lines: Any = ()) -> Watch:
    return Watch(lambda event: measured, Alarms(0), lines, said.append)


def test_it_says_when_an_alarm_begins_and_when_it_is_over() -> None:
    said: list[str] = []
    measured = dict(BAD["constant_teacher"])
    watch = watch_with(said, measured)
    lines = [watch(event_of(Progress(step)), {"step": step}) for step in range(1, 6)]
    assert len(said) == 1 and said[0].startswith("alarm constant_teacher: ")
    assert [one.get("alarm/constant_teacher") for one in lines] == [None, None, 1, 1, 1]
    measured["feature_spread"] = 0.5
    assert "alarm/constant_teacher" not in watch(event_of(Progress(6)), {"step": 6})
    assert said[1:] == ["alarm constant_teacher is over at step 6"]


def test_a_resumed_run_knows_what_was_ringing() -> None:
    said: list[str] = []
    before = [line(step, **BAD["constant_teacher"]) for step in range(1, 5)]
    watch = watch_with(said, BAD["constant_teacher"], before)
    assert watch(event_of(Progress(5)), {"step": 5})["alarm/constant_teacher"] == 1 and said == []
