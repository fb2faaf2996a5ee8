"""A run on two ranks that is stopped in every way, and gone on with, is the run that nobody stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from franca.train.checkpoint import complete_checkpoints
from tests.distributed.launch import launch, ranks_of, wait_until_gone
from tests.train.test_pretrain import EXACT, assert_same_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

STEPS = 16
RESUMABLE = 75


def arguments(folder: Path, mode: str = "ddp") -> list[str]:
    """The tiny recipe, with a checkpoint every fourth step."""
    options = [f"run.dir={folder}", f"performance.parallel={mode}", "run.checkpoint_every_steps=4", "run.keep_last=9"]
    small = [f"train.steps={STEPS}", "objective.koleo_group_size=4", "objective.nesting=[1]", "model.depth=1"]
    return ["pretrain", "tiny", *options, *small, *EXACT, "performance.workers=0"]


def start(folder: Path, mode: str = "ddp") -> BaseProcess:
    return launch(arguments(folder, mode), world=2, log=folder.with_suffix(".log"))


def printed(folder: Path) -> str:
    """All that the ranks printed."""
    return "\n".join(path.read_text() for path in sorted(folder.parent.glob(f"{folder.stem}.log.*")))


def last_step(folder: Path) -> int:
    """Steps logged so far."""
    try:
        return int(json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"])
    except (FileNotFoundError, IndexError, ValueError):
        return 0


def wait_for(condition: Callable[[], bool], launcher: BaseProcess, folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert launcher.is_alive() and time.monotonic() < deadline, printed(folder)
        time.sleep(0.001)


def stop(how: str, launcher: BaseProcess) -> None:
    """End a running launcher, and its ranks, in one of the ways that clusters know."""
    assert launcher.pid is not None
    ranks = ranks_of(launcher)
    if how == "TERM":
        os.kill(launcher.pid, signal.SIGTERM)
    elif how == "USR1":
        os.kill(ranks[1], signal.SIGUSR1)  # one rank hears it; all stop
    elif how == "KILL launcher":
        os.kill(launcher.pid, signal.SIGKILL)
    else:
        os.kill(ranks[1 if how == "KILL rank 1" else 0], signal.SIGKILL)
    launcher.join(60)
    wait_until_gone(ranks)
    if how in ("TERM", "USR1"):
        assert launcher.exitcode == RESUMABLE


def reached(folder: Path, step: int, *, in_a_save: bool) -> Callable[[], bool]:
    """Whether a run that starts now has logged this step and, where asked, is just writing a checkpoint."""
    metrics = folder / "metrics.jsonl"
    before = metrics.stat().st_mtime_ns if metrics.exists() else 0

    def is_reached() -> bool:
        if not metrics.exists() or metrics.stat().st_mtime_ns == before:
            return False  # what stands there was logged before the last stop
        saving = any((folder / "checkpoints").glob(".step_*.tmp"))
        done = last_step(folder)
        return done >= step and (saving or not in_a_save or done > step + 4)

    return is_reached


def go_through(folder: Path, stops: list[str], seed: int, mode: str = "ddp") -> None:
    """Stop a run in these ways, each time after one or two more steps, then let it finish."""
    numbers = random.Random(seed)
    for how in stops:
        done = [step for step, _ in complete_checkpoints(folder / "checkpoints")]
        step = max(done, default=0) + numbers.randint(1, 2)
        condition = reached(folder, step, in_a_save=how == "KILL in a save")
        launcher = start(folder, mode)
        wait_for(condition, launcher, folder)
        stop(how, launcher)
    launcher = start(folder, mode)
    launcher.join(120)
    assert launcher.exitcode == 0, printed(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on two ranks that nobody stops."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    launcher = start(folder)
    launcher.join(120)
    assert launcher.exitcode == 0, printed(folder)
    return folder


def test_three_stops_change_nothing(tmp_path: Path, undisturbed: Path) -> None:
    go_through(tmp_path / "run", ["TERM", "KILL launcher", "KILL in a save"], seed=0)
    assert_same_run(tmp_path / "run", undisturbed)


@pytest.mark.slow
def test_twenty_stops_change_nothing(tmp_path: Path, undisturbed: Path) -> None:
    ways = ["TERM", "USR1", "KILL launcher", "KILL rank 1", "KILL rank 0", "KILL in a save"]
    stops = [ways[number % len(ways)] for number in range(20)]
    for part in range(4):
        go_through(tmp_path / f"run{part}", stops[5 * part : 5 * part + 5], seed=part)
        assert_same_run(tmp_path / f"run{part}", undisturbed)


@pytest.mark.slow
def test_shards_survive_stops_too(tmp_path: Path) -> None:
    go_through(tmp_path / "straight", [], seed=0, mode="fsdp")
    go_through(tmp_path / "run", ["USR1", "KILL rank 0", "KILL in a save"], seed=1, mode="fsdp")
    assert_same_run(tmp_path / "run", tmp_path / "straight")


def test_only_rank_zero_speaks_and_the_folder_is_its_own(undisturbed: Path) -> None:
    rank_zero, rank_one = (undisturbed.with_suffix(f".log.{rank}").read_text() for rank in (0, 1))
    assert f"finished {STEPS} steps" in rank_zero and "2 ranks (torchrun, 2 a machine), ddp" in rank_zero
    assert rank_one == ""
    assert complete_checkpoints(undisturbed / "checkpoints")[-1][0] == STEPS


def test_what_one_rank_may_not_do_ends_all_with_one_message(tmp_path: Path, undisturbed: Path) -> None:
    launcher = launch([*arguments(undisturbed), "train.seed=5"], world=2, log=tmp_path / "other")
    launcher.join(60)
    assert launcher.exitcode == 2
    rank_zero, rank_one = ((tmp_path / f"other.{rank}").read_text() for rank in (0, 1))
    assert "train.seed: 0 -> 5" in rank_zero and rank_one == ""


@pytest.mark.slow
def test_torchrun_starts_it_as_it_is(tmp_path: Path, undisturbed: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "franca"]
    subprocess.run([*command, *arguments(tmp_path / "run")], check=True, capture_output=True, timeout=300)
    assert_same_run(tmp_path / "run", undisturbed)
