"""A run that could not be saved or resumed fails at its start, not after hours."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from franca.distributed.shards import local
from franca.distributed.together import raise_together
from franca.errors import SaveError
from franca.train import checkpoint
from franca.train.checkpoint import Progress, step_name
from franca.train.saver import Saver
from franca.train.student_teacher import StudentTeacher


def save_and_load(folder: Path, networks: StudentTeacher, optimizer: torch.optim.Optimizer, progress: Progress) -> str:
    """Save a new run and go on from what is read back. Every rank must ask.

    The checkpoint is an ordinary one: it stays until newer ones take its place.

    Args:
        folder: Of the checkpoints.
        networks: With their first weights.
        optimizer: Over the student.
        progress: Of a run that has taken no step.

    Returns:
        How long it took, as a line.

    Raises:
        SaveError: the checkpoint cannot be written, or is not what was written when it is read.
        CheckpointError: it cannot be read.
    """
    before = _sums(networks)
    started = time.perf_counter()
    with closing(Saver(folder, networks, optimizer)) as saver:
        saver.save(progress)
        saver.wait()
    written = time.perf_counter()
    path = folder / step_name(progress.step)
    checkpoint.load(path, networks, optimizer)
    differs = not torch.equal(_sums(networks), before)
    raise_together(SaveError(f"{path} was read back with other values than were written") if differs else None)
    return (
        f"checkpoint of step {progress.step}: written in {written - started:.1f} s, read back the same in "
        f"{time.perf_counter() - written:.1f} s"
    )


@torch.no_grad()
def _sums(networks: StudentTeacher) -> Tensor:
    """A number for each parameter, of this rank's shard; not equal where something else was read."""
    return torch.stack([local(parameter).double().sum() for parameter in networks.parameters()])
