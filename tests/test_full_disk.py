"""A disk that fills up in the middle of a run: training goes on, and what was saved before stays."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from franca.errors import SaveError
from franca.models.safetensors import read_safetensors
from franca.train import loop
from franca.train.checkpoint import complete_checkpoints
from franca.train.pretrain import Outcome
from tests.train.test_pretrain import run_tiny

STEPS = 20
OPTIONS = (f"train.steps={STEPS}", "run.checkpoint_every_steps=4", "run.keep_last=2")
TOO_SMALL = 200_000
"""Bytes that a file may have on the full disk: enough for metrics, too few for weights."""


class FullDisk:
    """Between two steps no file can grow; notes which checkpoints are complete when a step begins."""

    def __init__(self, run: Path, first: int, last: int) -> None:
        self.run, self.first, self.last = run, first, last
        self.complete: list[list[int]] = [[]]
        self._step, self._limits = loop.train_step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Take a step."""
        self.complete.append([step for step, _ in complete_checkpoints(self.run / "checkpoints")])
        if len(self.complete) - 1 == self.first:
            while any((self.run / "checkpoints").glob(".step_*")):  # one that is being written still fits
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (TOO_SMALL, self._limits[1]))
        if len(self.complete) - 1 == self.last + 1:
            self.empty()
        return self._step(*arguments, **options)

    def empty(self) -> None:
        """Room again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@pytest.fixture
def undo() -> Iterator[None]:
    """No limit outlives a test that fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_safetensors(run / "exports/teacher.safetensors")[0]


def test_training_goes_on_and_saves_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undo: None
) -> None:
    run = tmp_path / "run"
    disk = FullDisk(run, first=6, last=13)  # checkpoints 8 and 12 cannot be written
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", disk)
        outcome, printed = run_tiny(run, *OPTIONS)
    assert outcome is Outcome.FINISHED
    assert disk.complete[8] == disk.complete[14] == [0, 4]
    assert [step for step, _ in complete_checkpoints(run / "checkpoints")] == [16, 20]
    assert not list((run / "checkpoints").glob(".step*"))

    alarms = [line for line in printed.splitlines() if line.startswith("alarm: ")]
    told = [
        name for name in ("step_00000008", "step_00000012") for line in alarms if f"{name} cannot be written" in line
    ]
    assert told == ["step_00000008", "step_00000012"] and all("Training goes on" in line for line in alarms)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    assert records[-1]["saves_failed"] == len(alarms) and "saves_failed" not in records[6]

    run_tiny(tmp_path / "undisturbed", *OPTIONS)
    wanted = weights(tmp_path / "undisturbed")
    assert all(torch.equal(value, wanted[name]) for name, value in weights(run).items())


def test_a_run_whose_last_save_fails_has_failed_and_goes_on_from_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undo: None
) -> None:
    run = tmp_path / "run"
    disk = FullDisk(run, first=18, last=STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", disk)
        with pytest.raises(SaveError, match="step 20, the last") as caught:
            run_tiny(run, *OPTIONS)
    disk.empty()
    assert caught.value.exit_code == 1
    assert [step for step, _ in complete_checkpoints(run / "checkpoints")] == [12, 16]
    outcome, printed = run_tiny(run, *OPTIONS)
    assert outcome is Outcome.FINISHED and "step_00000016: student" in printed


def test_a_start_on_a_full_disk_ends_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undo: None
) -> None:
    monkeypatch.setattr("franca.train.pretrain.check_disk", lambda *_: None)  # as when another fills it meanwhile
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(SaveError, match=r"step_00000000 cannot be written: .* has .* GiB free\."):
        run_tiny(tmp_path / "run", *OPTIONS)
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_a_line_of_metrics_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undo: None) -> None:
    run = tmp_path / "run"
    disk = FullDisk(run, first=3, last=6)
    monkeypatch.setattr("tests.test_full_disk.TOO_SMALL", 0)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", disk)
        outcome, printed = run_tiny(run, "train.steps=8", "run.checkpoint_every_steps=8")
    assert outcome is Outcome.FINISHED
    assert printed.count("Its line of metrics is written with the next one.") == 4  # steps 3 to 6
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))


def test_a_line_of_evaluations_that_cannot_be_written_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("franca.train.run_folder.RunFolder.append_evaluation", full)
    outcome, printed = run_tiny(tmp_path / "run", "train.steps=1", "evaluation.online=1", "evaluation.num_images=8")
    assert outcome is Outcome.FINISHED
    assert "No space left on device. Its line of evaluations is written with the next one." in printed
