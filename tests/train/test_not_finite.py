"""Steps that are not finite: counted in a row, and written down with what they saw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from franca.errors import DivergedError
from franca.objective.pretraining import Losses
from franca.train.checkpoint import Progress
from franca.train.clipping import Norms
from franca.train.left_out import LeftOut
from franca.train.loop import StepEvent
from franca.train.not_finite import LimitNotFinite, RecordNotFinite
from franca.train.step import StepResult
from tests.distributed.ranks import run_ranks
from tests.train.test_hooks import event_of

NAN, GOOD = torch.tensor(torch.nan), torch.tensor(1.0)


def bad_event(progress: Progress, keys: tuple[str, ...] = ("a", "b", "c", "d"), first: int = 0) -> StepEvent:
    event = event_of(progress)
    (batch,) = event.micro_batches
    result = StepResult(
        Losses(NAN, {"dino_d4": GOOD, "ibot_d4": NAN}), Norms({"backbone": NAN, "dino_head": GOOD}, NAN), applied=False
    )
    return replace(event, result=result, micro_batches=[replace(batch, keys=keys, positions=batch.positions + first)])


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "not_finite.jsonl").read_text().splitlines()]


def test_only_steps_that_were_not_applied_are_counted_and_written_down(tmp_path: Path) -> None:
    record, progress = RecordNotFinite(tmp_path, print), Progress(7)
    record(event_of(progress))
    assert progress == Progress(7) and not (tmp_path / "not_finite.jsonl").exists()
    record(bad_event(progress))
    record(bad_event(progress))
    assert progress == Progress(7, counts={"steps_skipped": 2}, not_finite_in_a_row=2)
    record(event_of(progress))
    record(bad_event(progress))
    assert progress == Progress(7, counts={"steps_skipped": 3}, not_finite_in_a_row=1)
    expected = {
        "step": 7,
        "not_finite": ["loss/ibot_d4", "grad_norm/backbone"],
        "positions": [0, 3],
        "keys": ["a", "b", "c", "d"],
    }
    assert lines_of(tmp_path) == [expected] * 3


def _record(rank: int, folder: Path) -> None:
    RecordNotFinite(folder, print)(
        bad_event(Progress(2), keys=tuple(f"{rank}{letter}" for letter in "abcd"), first=4 * rank)
    )


def test_the_samples_of_all_ranks_are_named_once(tmp_path: Path) -> None:
    run_ranks(_record, tmp_path)
    (line,) = lines_of(tmp_path)
    assert line["positions"] == [0, 7]
    assert line["keys"] == [f"{rank}{letter}" for rank in range(2) for letter in "abcd"]


def test_they_end_a_run_only_in_a_row(tmp_path: Path) -> None:
    record, progress = RecordNotFinite(tmp_path, print), Progress(9)
    limit = LimitNotFinite(3, LeftOut(), record.path)
    for event in (bad_event(progress), bad_event(progress), event_of(progress), bad_event(progress)):
        record(event)
        limit(event)
    event = bad_event(progress)
    record(event)
    limit(event)
    record(event)
    with pytest.raises(
        DivergedError, match=r"of 3 steps in a row, up to step 9, .*not_finite\.jsonl .* a, b, c,"
    ) as caught:
        limit(event)
    assert caught.value.exit_code == 1 and "once before" not in str(caught.value)
    with pytest.raises(DivergedError, match="gone back to a checkpoint and left batches out once before"):
        LimitNotFinite(3, LeftOut(((1, 2),)), record.path)(event)


def test_a_line_that_cannot_be_written_is_said_instead(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "not_finite.jsonl").mkdir()
    RecordNotFinite(tmp_path, said.append)(bad_event(Progress(7)))
    assert len(said) == 1 and '"keys": ["a", "b", "c", "d"]' in said[0]
