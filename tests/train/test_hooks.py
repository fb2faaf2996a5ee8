"""Hooks: what is counted, when lines and checkpoints are written, and when bad data stops a run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from franca.batch import Batch, Skipped
from franca.errors import TooManyBadSamples
from franca.objective.pretraining import Losses
from franca.train.checkpoint import Progress
from franca.train.clipping import Norms
from franca.train.hooks import (
    CountSamples,
    LimitBadSamples,
    SaveCheckpoints,
    skipped_by_reason,
    step_metrics,
)
from franca.train.loop import StepEvent
from franca.train.run_folder import RunFolder
from franca.train.saver import Saver
from franca.train.step import StepResult
from tests.train.test_checkpoint import make
from tests.train.test_step import RATES


def event_of(progress: Progress, *, images: int = 4, skipped: int = 0, num_steps: int = 100) -> StepEvent:
    numbers = torch.arange(images)
    empty = torch.empty(0)
    batch = Batch(empty, empty, empty, empty, numbers, numbers, images)
    result = StepResult(
        Losses(torch.tensor(3.0), {"dino_d4": torch.tensor(2.0)}),
        Norms({"backbone": torch.tensor(1.5)}, torch.tensor(1.5)),
        applied=True,
    )
    bad = (Skipped("a.jpg", "empty"),) * skipped
    return StepEvent(progress, num_steps, result, RATES, [batch], 1.0, 0.25, False, bad)


def test_the_share_of_bad_samples_is_of_all_reads_over_the_whole_run() -> None:
    progress, count, limit = Progress(), CountSamples(), LimitBadSamples(0.1)
    for _ in range(20):
        event = event_of(progress, images=90, skipped=10)  # exactly a tenth is allowed
        count(event)
        limit(event)
    event = event_of(progress, images=0, skipped=1)
    count(event)
    with pytest.raises(TooManyBadSamples, match=r"201 of 2,001 samples .*\(empty 201\).* a\.jpg \(empty\)") as caught:
        limit(event)
    assert caught.value.exit_code == 1


def test_a_bad_sample_early_on_does_not_stop_a_run_unless_none_is_allowed() -> None:
    event = event_of(Progress(), skipped=1)
    CountSamples()(event)
    LimitBadSamples(0.05)(event)
    with pytest.raises(TooManyBadSamples):
        LimitBadSamples(0)(event)


def test_the_last_bad_samples_are_named_after_a_resume_too() -> None:
    event, keys = event_of(Progress()), [f"{number}.jpg" for number in range(9)]
    CountSamples()(replace(event, skipped=tuple(Skipped(key, "empty") for key in keys)))
    resumed = Progress(**json.loads(json.dumps(asdict(event.progress))))
    with pytest.raises(TooManyBadSamples, match=r"The last ones: 4\.jpg \(empty\), .*, 8\.jpg \(empty\)\. Repair"):
        LimitBadSamples(0)(event_of(resumed))


def test_bad_samples_are_counted_by_reason_and_by_shard_or_folder() -> None:
    event = event_of(Progress())
    keys = ["00001.tar/a/b", "00001.tar/c", "cats/1.jpg", "cats/old/2.jpg", "alone.jpg"]
    skipped = tuple(Skipped(key, "empty" if key < "b" else "damaged") for key in keys)
    count = CountSamples()
    count(replace(event, skipped=skipped * 2))
    assert count.bad_places == {"00001.tar": 4, "cats": 4}
    assert skipped_by_reason(event.progress.counts) == {"empty": 6, "damaged": 4}


def test_a_line_of_metrics_has_units_and_counts() -> None:
    event = event_of(Progress(7), skipped=2)
    CountSamples()(event)
    assert step_metrics(event) == {
        "step": 7,
        "loss/total": 3.0,
        "loss/dino_d4": 2.0,
        "grad_norm/backbone": 1.5,
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
        "teacher_momentum": 0.9,
        "teacher_temperature": 0.05,
        "images": 4,
        "data/skipped": 2,
        "data/skipped/empty": 2,
    }


def test_checkpoints_and_exports_are_written_when_due(tmp_path: Path) -> None:
    networks, optimizer = make()
    exported: list[tuple[str, int]] = []
    lock = open(tmp_path / ".lock", "w")  # noqa: SIM115 - closed with the folder
    folder = RunFolder(tmp_path, lock)
    said: list[str] = []
    hook = SaveCheckpoints(
        folder,
        Saver(folder.checkpoints, networks, optimizer, keep_last=2),
        every_steps=4,
        export=lambda path, step: exported.append((path.name, step)),
        export_every_steps=3,
        say=said.append,
    )
    for step in range(1, 8):
        hook(event_of(Progress(step), num_steps=7))
    hook.saver.close()
    folder.close()
    assert [line.split(" s ")[0][:-4] for line in said] == [
        f"checkpoint of step {step}: stood still for " for step in (4, 7)
    ]
    newest = "teacher.safetensors"
    assert exported == [
        ("teacher_step_00000003.safetensors", 3),
        (newest, 4),
        ("teacher_step_00000006.safetensors", 6),
        (newest, 7),
    ]
    assert {path.name for path in folder.checkpoints.iterdir()} == {"step_00000004", "step_00000007"}
