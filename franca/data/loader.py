"""Makes micro-batches ahead of the step, in worker processes, and hands them over in order."""

from __future__ import annotations

import atexit
import multiprocessing
import os
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader, Dataset

from franca.batch import Batch
from franca.data.collate import CutBatch, PretrainingData
from franca.distributed.lifetime import end_with_parent, leave_signals_to_parent
from franca.errors import FrancaError

Batches: TypeAlias = Generator[Batch, None, None]
_Item: TypeAlias = Batch | CutBatch | FrancaError

PREFETCH = 2  # micro-batches that a worker makes ahead
_running: WeakSet[Batches] = WeakSet()


def make_loader(
    dataset: PretrainingData,
    *,
    start: int,
    stop: int,
    workers: int,
    device: torch.device,
    item: Callable[[int], int] = int,
    augment_on: str = "cpu",
) -> Batches:
    """The micro-batches from ``start`` up to ``stop``, in order, the same for any number of workers.

    Args:
        dataset: Makes one micro-batch an item.
        start: First of this rank's items.
        stop: The one after the last.
        workers: Worker processes; 0 makes batches in this process, when they are asked for.
        device: Where the batches will go; memory is pinned for CUDA.
        item: Which item of the dataset is this rank's i-th; all are, on one rank.
        augment_on: Where colours are changed and crops normalised: ``cpu`` is with the rest, in the workers, and
            ``device`` in this process on ``device``, which gets bytes.

    Returns:
        Batches on the CPU, or on ``device`` where that finishes them; closing the generator ends the workers.
    """
    on_device = augment_on == "device"
    loader = DataLoader(
        _Guarded(dataset.cut if on_device else dataset.__getitem__),
        batch_size=None,
        sampler=map(item, range(start, stop)),
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=partial(_start_worker, os.getpid()) if workers else None,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # or the loader would draw from the global one
    )
    batches = _unguarded(loader, partial(dataset.finish, device=device))
    _running.add(batches)
    return batches


def _unguarded(loader: DataLoader[_Item], finish: Callable[[CutBatch], Batch]) -> Batches:
    batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, FrancaError):
                raise batch
            yield finish(batch) if isinstance(batch, CutBatch) else batch
    finally:
        del batches  # ends the workers now, not when the traceback of an error is forgotten


class _Guarded(Dataset["_Item"]):
    """Hands our errors over as items: raised in a worker they would arrive wrapped in a traceback."""

    def __init__(self, make: Callable[[int], Batch | CutBatch]) -> None:
        self._make = make

    def __getitem__(self, index: int) -> _Item:
        try:
            return self._make(index)
        except FrancaError as error:
            return error


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(parent: int, _number: int) -> None:
    """Leave signals to the main process, which ends its workers itself, and die with it."""
    leave_signals_to_parent()
    end_with_parent(parent if multiprocessing.get_start_method() == "fork" else None)


def _end_workers() -> None:
    """End the workers before multiprocessing terminates them, and waits for ever because they ignore it."""
    for batches in list(_running):
        batches.close()


atexit.register(_end_workers)  # runs before multiprocessing's own, which was registered earlier
