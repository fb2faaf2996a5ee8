"""Makes micro-batches ahead of the step, in worker processes, and hands them over in order."""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Generator
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader, Dataset

from franca.batch import Batch, Skipped
from franca.data.collate import PretrainingData
from franca.errors import FrancaError, TooManyBadSamples

Batches: TypeAlias = Generator[Batch, None, None]

PREFETCH = 2  # micro-batches that a worker makes ahead
_JUDGED_FROM = 256  # reads before which the share of bad samples is not judged on its own
_PR_SET_PDEATHSIG = 1
_running: WeakSet[Batches] = WeakSet()


def make_loader(
    dataset: PretrainingData, *, start: int, stop: int, workers: int, device: torch.device, max_bad_fraction: float = 1
) -> Batches:
    """The micro-batches from ``start`` up to ``stop``, in order, the same for any number of workers.

    Args:
        dataset: Makes one micro-batch an item.
        start: First item.
        stop: Item after the last.
        workers: Worker processes; 0 makes batches in this process, when they are asked for.
        device: Where the batches will go; memory is pinned for CUDA.
        max_bad_fraction: Largest share of unreadable samples, in [0, 1].

    Returns:
        Batches on the CPU; closing the generator ends the workers.

    Raises:
        TooManyBadSamples: More samples are unreadable than that.
    """
    loader = DataLoader(
        _Guarded(dataset),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=partial(_start_worker, os.getpid()) if workers else None,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # or the loader would draw from the global one
    )
    batches = _counted(loader, BadSampleCount(max_bad_fraction))
    _running.add(batches)
    return batches


def _counted(loader: DataLoader[Batch | FrancaError], count: BadSampleCount) -> Batches:
    batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, FrancaError):
                raise batch
            count.add(batch)
            yield batch
    finally:
        del batches  # ends the workers now, not when the traceback of an error is forgotten


class BadSampleCount:
    """Counts unreadable samples, and stops the run when they are too many.

    Args:
        max_fraction: Largest share of the samples read, in [0, 1]. Until a few hundred are read, as many bad ones
            pass as would among a few hundred.
    """

    def __init__(self, max_fraction: float) -> None:
        self._max_fraction = max_fraction
        self._read = 0
        self._reasons: Counter[str] = Counter()

    def add(self, batch: Batch) -> None:
        """Count a batch.

        Raises:
            TooManyBadSamples: The share is exceeded.
        """
        self._read += batch.num_images + len(batch.skipped)
        self._reasons.update(bad.reason for bad in batch.skipped)
        if self._reasons.total() > self._max_fraction * max(self._read, _JUDGED_FROM):
            raise TooManyBadSamples(self._message(batch.skipped))

    def _message(self, latest: tuple[Skipped, ...]) -> str:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self._reasons.most_common())
        examples = ", ".join(bad.key for bad in latest[:3])
        return (
            f"{self._reasons.total():,} of {self._read:,} samples are unreadable ({reasons}; latest: {examples}), more "
            f"than data.max_bad_fraction={self._max_fraction:g} allows. Repair the data, or raise the limit."
        )


class _Guarded(Dataset["Batch | FrancaError"]):
    """Hands our errors over as items: raised in a worker they would arrive wrapped in a traceback."""

    def __init__(self, dataset: PretrainingData) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> Batch | FrancaError:
        try:
            return self._dataset[index]
        except FrancaError as error:
            return error


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(parent: int, _number: int) -> None:
    """Leave signals to the main process, which ends its workers itself, and die with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if multiprocessing.get_start_method() == "fork" and os.getppid() != parent:
            os._exit(1)  # the parent died before it could be watched


def _end_workers() -> None:
    """End the workers before multiprocessing terminates them, and waits for ever because they ignore it."""
    for batches in list(_running):
        batches.close()


atexit.register(_end_workers)  # runs before multiprocessing's own, which was registered earlier
