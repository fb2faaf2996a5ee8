"""Writes checkpoints while training goes on; see `franca.train.checkpoint` for what they hold."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_saver import async_save

from franca.distributed.process_group import new_cpu_group
from franca.distributed.together import any_rank, is_rank_zero, on_rank_zero, raise_together
from franca.errors import SaveError
from franca.train.checkpoint import (
    Progress,
    cause_of,
    complete_checkpoints,
    expect_no_warning,
    state_of,
    step_name,
)
from franca.train.memory import size_text
from franca.train.student_teacher import StudentTeacher


class Saver:
    """Saves one checkpoint at a time: a step only waits until its state is copied to the CPU's memory.

    A checkpoint is written under a temporary name and given its own when all of it is on the disk; a kill at any moment
    leaves the older ones.

    Args:
        folder: Of the checkpoints.
        networks: Student and teacher.
        optimizer: Over the student.
        keep_last: Checkpoints kept, newest first.
        keep_every_steps: Those at multiples of this are kept for good.
    """

    def __init__(
        self,
        folder: Path,
        networks: StudentTeacher,
        optimizer: torch.optim.Optimizer,
        *,
        keep_last: int = 1,
        keep_every_steps: int | None = None,
    ) -> None:
        self.folder = folder
        self.networks = networks
        self.optimizer = optimizer
        self.keep_last = keep_last
        self.keep_every_steps = keep_every_steps
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saver")
        # Its messages must not mix with those of the steps that go on meanwhile.
        self._group: ProcessGroup | None = new_cpu_group()
        self._running: tuple[Path, Future[None]] | None = None

    def save(self, progress: Progress) -> None:
        """Copy the state and begin to write it, once the checkpoint before is written. Every rank must ask.

        A step that has a complete checkpoint keeps it: another would hold the same, and putting it in its place would
        leave a moment without either.

        Raises:
            SaveError: the one before could not be written, or this one cannot be begun.
        """
        self.wait()
        path = self.folder / step_name(progress.step)
        if on_rank_zero(lambda: (path / "COMPLETE").is_file()):
            return
        temporary = self.folder / f".{path.name}.tmp"
        try:
            on_rank_zero(lambda: _begin(temporary))
        except OSError as error:
            raise _failed(path, error) from error
        expect_no_warning()
        written = async_save(
            state_of(self.networks, self.optimizer),
            checkpoint_id=temporary,
            process_group=self._group,
            no_dist=self._group is None,
        )
        assert isinstance(written, Future)
        self._running = path, self._thread.submit(self._finish, written, temporary, path, deepcopy(progress))

    def wait(self) -> None:
        """Wait until the checkpoint that is being written, if there is one, is complete. Every rank must ask.

        Raises:
            SaveError: the disk is full, or cannot be written for another reason.
        """
        if self._running is None:
            return
        (path, running), self._running = self._running, None
        failure = None
        try:
            running.result()
        except (OSError, CheckpointException) as error:
            failure = _failed(path, error)
        raise_together(failure)

    def settle(self) -> None:
        """`wait` where no rank would have to; nothing else. Every rank must ask.

        Raises:
            SaveError: as `wait`.
        """
        if self._running is not None and not any_rank(not self._running[1].done()):
            self.wait()

    def close(self) -> None:
        """Let what is being written come to its end; nothing can be saved afterwards."""
        self._thread.shutdown()

    def _finish(self, written: Future[Any], temporary: Path, path: Path, progress: Progress) -> None:
        """Give a checkpoint that all ranks have written its name; from ``COMPLETE`` on it counts."""
        try:
            written.result()
            if is_rank_zero():
                _complete(temporary, path, progress)
                self._prune()
        except (OSError, CheckpointException):
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _prune(self) -> None:
        """Delete all complete checkpoints but those that are to be kept."""
        for step, path in complete_checkpoints(self.folder)[: -self.keep_last]:
            if not (self.keep_every_steps and step % self.keep_every_steps == 0):
                (path / "COMPLETE").unlink()  # so that a kill in the middle of the deletion leaves no half checkpoint
                shutil.rmtree(path)


def _begin(temporary: Path) -> None:
    """An empty folder to write in."""
    for leftover in temporary.parent.glob(".step_*.tmp"):  # of a process that was killed while it saved
        shutil.rmtree(leftover)
    temporary.mkdir(parents=True)


def _complete(temporary: Path, path: Path, progress: Progress) -> None:
    (temporary / "progress.json").write_text(json.dumps(asdict(progress)))
    for file in temporary.iterdir():
        _sync(file)
    if path.exists():
        shutil.rmtree(path)  # of a process that was killed before it was complete
    temporary.rename(path)
    (path / "COMPLETE").touch()
    _sync(path)
    _sync(path.parent)


def _failed(path: Path, error: BaseException) -> SaveError:
    free = size_text(shutil.disk_usage(path.parent if path.parent.is_dir() else path.anchor).free)
    return SaveError(
        f"{path} cannot be written: {cause_of(error)}; its disk has {free} free. Older checkpoints are intact."
    )


def _sync(path: Path) -> None:
    """Make sure that a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
