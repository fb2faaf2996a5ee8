"""Going back: to the right checkpoint, once, and to a run that stops and kills do not change."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from franca.batch import Batch
from franca.data.collate import PretrainingData
from franca.errors import DivergedError
from franca.train import pretrain as pretrain_module
from franca.train.checkpoint import Progress, complete_checkpoints, step_name
from franca.train.go_back import WayBack, find_way_back, take_way_back
from franca.train.left_out import LeftOut
from franca.train.pretrain import Outcome
from tests.distributed.ranks import run_ranks
from tests.train.test_pretrain import assert_same_run, metrics_of, run_tiny

OPTIONS = ("train.steps=12", "run.checkpoint_every_steps=4", "train.max_steps_not_finite=2", "run.health_every_steps=3")
LAST = 13  # batch that the 12th step sees where two are left out


def checkpoints(folder: Path, *steps: int) -> Path:
    for step in steps:
        (folder / step_name(step)).mkdir(parents=True)
        (folder / step_name(step) / "COMPLETE").touch()
    return folder


@pytest.mark.parametrize(("steps", "chosen"), [((4, 8, 12), 8), ((4, 9), 9), ((10, 12), 10), ((12,), 12)])
def test_the_newest_checkpoint_from_before_is_taken_or_the_oldest(
    tmp_path: Path, steps: tuple[int, ...], chosen: int
) -> None:
    way = find_way_back(checkpoints(tmp_path, *steps), Progress(13, not_finite_in_a_row=4), LeftOut())
    assert way == WayBack(chosen, tmp_path / step_name(chosen), LeftOut(((9, 13),)))
    assert "global batches 9 to 12" in way.explain(Progress(13, not_finite_in_a_row=4))


def test_there_is_no_way_back_without_a_checkpoint_or_a_second_time(tmp_path: Path) -> None:
    assert find_way_back(tmp_path, Progress(13, not_finite_in_a_row=4), LeftOut()) is None
    checkpoints(tmp_path, 4)
    assert find_way_back(tmp_path, Progress(13, not_finite_in_a_row=4), LeftOut(((1, 3),))) is None


def test_the_way_back_leaves_no_younger_checkpoint(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "checkpoints", 4, 8, 12)
    take_way_back(tmp_path, WayBack(8, folder / step_name(8), LeftOut(((9, 13),))))
    assert [step for step, _ in complete_checkpoints(folder)] == [4, 8]
    assert LeftOut.read(tmp_path) == LeftOut(((9, 13),))


def spoil(
    patch: Callable[[Any, str, Any], None], batches: set[int], at: Callable[[int, list[int]], None] | None = None
) -> list[int]:
    """Put a NaN into some global batches; the list of batches asked for, which ``at`` is told of before each."""
    asked: list[int] = []
    original = PretrainingData.__getitem__

    def spoiled(self: PretrainingData, index: int) -> Batch:
        batch = original(self, index)
        number = int(batch.positions[0]) // batch.global_batch
        asked.append(number)
        if at is not None:
            at(number, asked)
        if number not in batches:
            return batch
        crops = batch.global_crops.clone()
        crops[0, 0, 0, 0] = torch.nan
        return replace(batch, global_crops=crops)

    patch(PretrainingData, "__getitem__", spoiled)
    return asked


@pytest.fixture(scope="module")
def gone_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps that meets two bad batches and goes back once."""
    folder = tmp_path_factory.mktemp("runs") / "gone_back"
    with pytest.MonkeyPatch.context() as monkeypatch:
        asked = spoil(monkeypatch.setattr, {6, 7})
        outcome, output = run_tiny(folder, *OPTIONS)
    assert outcome is Outcome.FINISHED
    assert asked == [*range(8), 4, 5, *range(8, LAST + 1)]
    assert "going back to the checkpoint of step 4, once, and leaving out the global batches 6 to 7" in output
    return folder


def test_a_run_goes_back_once_and_leaves_out_what_it_met(gone_back: Path) -> None:
    lines = metrics_of(gone_back)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line.get("batches_left_out") for line in lines] == [None] * 4 + [2] * 8
    assert all(line["loss/total"] is not None and "steps_skipped" not in line for line in lines)
    assert json.loads((gone_back / "left_out.json").read_text()) == {"batches": [[6, 8]]}
    written = [json.loads(line) for line in (gone_back / "not_finite.jsonl").read_text().splitlines()]
    assert [(line["step"], line["positions"], len(line["keys"])) for line in written] == [
        (7, [48, 55], 8),
        (8, [56, 63], 8),
    ]


def stop_at(batch: int) -> Callable[[int, list[int]], None]:
    """Asks for a stop when this batch is read, once."""

    def stop(number: int, asked: list[int]) -> None:
        if asked.count(batch) == 1 and number == batch:
            os.kill(os.getpid(), signal.SIGTERM)

    return stop


@pytest.mark.parametrize("batch", [6, 7, *(pytest.param(later, marks=pytest.mark.slow) for later in (9, 11))])
def test_a_stop_before_or_after_changes_nothing(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone_back: Path
) -> None:
    spoil(monkeypatch.setattr, {6, 7}, stop_at(batch))
    outcomes = [run_tiny(tmp_path / "run", *OPTIONS)[0] for _ in range(2)]
    assert outcomes == [Outcome.STOPPED, Outcome.FINISHED]
    assert_same_run(tmp_path / "run", gone_back)


class Killed(Exception):
    """Ends a run as a kill would: nothing is saved."""


@pytest.mark.parametrize("batch", [8, *(pytest.param(other, marks=pytest.mark.slow) for other in (7, 10))])
def test_a_kill_before_or_after_changes_nothing(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone_back: Path
) -> None:
    def kill(number: int, asked: list[int]) -> None:
        if number == batch and asked.count(batch) == 1:
            raise Killed

    spoil(monkeypatch.setattr, {6, 7}, kill)
    with pytest.raises(Killed):
        run_tiny(tmp_path / "run", *OPTIONS)
    assert run_tiny(tmp_path / "run", *OPTIONS)[0] is Outcome.FINISHED
    assert_same_run(tmp_path / "run", gone_back)


def test_the_second_time_it_stops_and_names_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch.setattr, {6, 7, 10, 11})
    with pytest.raises(DivergedError, match=r"once before\. .*not_finite\.jsonl names their samples") as caught:
        run_tiny(tmp_path / "run", *OPTIONS)
    assert caught.value.exit_code == 1
    written = [json.loads(line) for line in (tmp_path / "run/not_finite.jsonl").read_text().splitlines()]
    assert [line["positions"][0] // 8 for line in written] == [6, 7, 10, 11]
    assert all("loss/dino_d64" in line["not_finite"] and len(line["keys"]) == 8 for line in written)


def test_a_step_now_and_then_is_only_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = spoil(monkeypatch.setattr, {3, 6, 9})
    _, output = run_tiny(tmp_path / "run", *OPTIONS)
    assert asked == list(range(12)) and metrics_of(tmp_path / "run")[-1]["steps_skipped"] == 3
    assert "3 steps that were not finite not applied" in output


def _rank(rank: int, folder: Path, mode: str, batches: set[int]) -> tuple[list[int], str]:
    """Train on two ranks, one of which gets the NaN."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    pretrain_module.process_group = lambda *_: nullcontext()  # type: ignore[assignment]  # there is one already
    asked = spoil(setattr, batches if rank == 1 else set())
    small = (f"performance.parallel={mode}", "objective.koleo_group_size=4", "objective.nesting=[1]", "model.depth=1")
    try:
        return asked, run_tiny(folder, *OPTIONS, *small)[1]
    except DivergedError as error:
        return asked, str(error)


@pytest.mark.parametrize("mode", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_a_nan_on_one_rank_takes_all_ranks_back(mode: str, tmp_path: Path) -> None:
    for asked, _ in run_ranks(_rank, tmp_path / "run", mode, {6, 7}):
        assert asked == [*range(8), 4, 5, *range(8, LAST + 1)]
    assert [line["step"] for line in metrics_of(tmp_path / "run")] == list(range(1, 13))
    (line, _) = (tmp_path / "run/not_finite.jsonl").read_text().splitlines()
    assert json.loads(line)["positions"] == [48, 55] and len(json.loads(line)["keys"]) == 8


def test_a_nan_on_one_rank_stops_all_ranks_the_second_time(tmp_path: Path) -> None:
    for _, message in run_ranks(_rank, tmp_path / "run", "ddp", {6, 7, 10, 11}):
        assert "once before" in message
