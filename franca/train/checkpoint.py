"""Checkpoints: everything that a run needs to go on as if it had never stopped.

    checkpoints/step_00001000/
        .metadata, __0_0.distcp, …  student, teacher and optimizer, by name (torch.distributed.checkpoint)
        progress.json               the step, and counts kept over the whole run
        COMPLETE                    written last; a folder without it does not count

A checkpoint knows nothing of ranks, workers or micro-batches: sample order, crops, masks and rates are functions of
the step, and shards are put together as whoever loads them needs. It is for your own runs, since its metadata is a
pickle; exports are for everyone.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, field
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
    not_finite_in_a_row: int = 0
    """The last steps, if any, that were not applied."""
    bad_examples: list[str] = field(default_factory=list)
    """The last few samples that could not be used, with the reason."""

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


def load(path: Path, networks: StudentTeacher, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore networks and optimizer in place, strictly; returns the progress.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not have the names and shapes of this run.
    """
    state = state_of(networks, optimizer)
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


def state_of(networks: StudentTeacher, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All tensors of a checkpoint by name; every rank brings its shards."""
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
        expect_no_warning()
        read_state(state, storage_reader=reader, no_dist=not is_distributed())
    except (Exception, CheckpointException) as error:
        raise CheckpointError(f"{path} cannot be read: {cause_of(error)}. {GO_BACK}") from error


def expect_no_warning() -> None:
    """Without a process group, which one process does not need, torch would warn at every call."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")


def cause_of(error: BaseException) -> str:
    """The first line of what went wrong; torch wraps it together with its tracebacks."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
