"""Checkpoints: everything that a run needs to go on as if it had never stopped.

    checkpoints/step_00001000/
        .metadata, __0_0.distcp     student, teacher and optimizer, by name (torch.distributed.checkpoint)
        progress.json               the step, and counts kept over the whole run
        COMPLETE                    written last; a folder without it does not count

A checkpoint knows nothing of ranks, workers or micro-batches: sample order, crops, masks and rates are functions
of the step. It is for your own runs, since its metadata is a pickle; exports are for everyone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as read_state
from torch.distributed.checkpoint.state_dict_saver import save as write_state

from franca.distributed.reduce import is_distributed
from franca.errors import CheckpointError
from franca.train.student_teacher import StudentTeacher

GO_BACK = "Delete or move this folder to go on from the checkpoint before it, or start anew with --fresh."
_STEP_FOLDER = re.compile(r"step_(\d{8,})")


@dataclass
class Progress:
    """How far a run is: steps done, samples in its source, and counts by name since its beginning."""

    step: int = 0
    num_samples: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + by


def step_name(step: int) -> str:
    """``step_00001000`` for 1000."""
    return f"step_{step:08d}"


def complete_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of every complete checkpoint, oldest first."""
    found = []
    for path in folder.glob("step_*"):
        match = _STEP_FOLDER.fullmatch(path.name)
        if match and (path / "COMPLETE").is_file():
            found.append((int(match.group(1)), path))
    return sorted(found)


def save(folder: Path, networks: StudentTeacher, optimizer: torch.optim.Optimizer, progress: Progress) -> Path:
    """Write a checkpoint under a temporary name, then give it its own; a kill at any moment leaves the older ones.

    Raises:
        CheckpointError: the disk is full, or cannot be written for another reason.
    """
    path = folder / step_name(progress.step)
    temporary = folder / f".{path.name}.tmp"
    for leftover in folder.glob(".step_*.tmp"):  # of a process that was killed while it saved
        shutil.rmtree(leftover)
    try:
        temporary.mkdir(parents=True)
        with _one_process_is_fine():
            write_state(_state(networks, optimizer), checkpoint_id=temporary, no_dist=not is_distributed())
        (temporary / "progress.json").write_text(json.dumps(asdict(progress)))
        for file in temporary.iterdir():
            _sync(file)
        if path.exists():
            shutil.rmtree(path)  # incomplete, or of the same step
        temporary.rename(path)
        (path / "COMPLETE").touch()
        _sync(path)
        _sync(folder)
    except (OSError, CheckpointException) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(f"{path} cannot be written: {_cause(error)}. Older checkpoints are intact.") from error
    return path


def load(path: Path, networks: StudentTeacher, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore networks and optimizer in place, strictly; returns the progress.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not have the names and shapes of this run.
    """
    state = _state(networks, optimizer)
    _read(state, path)
    set_model_state_dict(networks, state["networks"])
    set_optimizer_state_dict(networks.student, optimizer, state["optimizer"])
    try:
        return Progress(**json.loads((path / "progress.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path / 'progress.json'} cannot be read: {error}. {GO_BACK}") from error


def load_networks(path: Path, networks: StudentTeacher) -> None:
    """Restore student and teacher only, strictly, for a run that starts anew from another's weights."""
    state = {"networks": get_model_state_dict(networks)}
    _read(state, path)
    set_model_state_dict(networks, state["networks"])


def prune(folder: Path, *, keep_last: int, keep_every_steps: int | None) -> None:
    """Delete all complete checkpoints but the newest ``keep_last`` and those at multiples of ``keep_every_steps``."""
    for step, path in complete_checkpoints(folder)[:-keep_last]:
        if not (keep_every_steps and step % keep_every_steps == 0):
            (path / "COMPLETE").unlink()  # so that a kill in the middle of the deletion leaves no half checkpoint
            shutil.rmtree(path)


def _state(networks: StudentTeacher, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "networks": get_model_state_dict(networks),
        "optimizer": get_optimizer_state_dict(networks.student, optimizer),
    }


def _read(state: dict[str, Any], path: Path) -> None:
    """Fill ``state`` from disk; names and shapes must agree both ways."""
    try:
        reader = FileSystemReader(path)
        stored = reader.read_metadata().state_dict_metadata
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {GO_BACK}") from error
    expected = {f"networks.{name}": tensor for name, tensor in state["networks"].items()}
    problems = [f"missing: {name}" for name in expected if name not in stored]
    problems += [f"unexpected: {name}" for name in stored if name.startswith("networks.") and name not in expected]
    problems += [
        f"{name}: {tuple(size)} in the file, {tuple(tensor.shape)} in this run"
        for name, tensor in expected.items()
        if (size := getattr(stored.get(name), "size", tensor.shape)) != tensor.shape
    ]
    if problems:
        shown = "\n  ".join(problems[:20]) + (f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise CheckpointError(f"{path} does not match this run:\n  {shown}")
    try:
        with _one_process_is_fine():
            read_state(state, storage_reader=reader, no_dist=not is_distributed())
    except (Exception, CheckpointException) as error:
        raise CheckpointError(f"{path} cannot be read: {_cause(error)}. {GO_BACK}") from error


@contextmanager
def _one_process_is_fine() -> Iterator[None]:
    """Without a process group, which one process does not need, each call would warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _cause(error: BaseException) -> str:
    """The first line of what went wrong; torch wraps it together with its tracebacks."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _sync(path: Path) -> None:
    """Make sure that a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
