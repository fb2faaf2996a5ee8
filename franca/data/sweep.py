"""One function over many items, in worker processes, with the results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from franca.data.randomness import Ints
from franca.distributed.lifetime import end_with_parent
from franca.errors import FrancaError

Progress: TypeAlias = Callable[[int, int], None]  # (items done, items in all)
Result = TypeVar("Result")


def sweep(
    function: Callable[[Any], Result],
    items: Sequence[Any] | Ints,
    *,
    workers: int = 0,
    chunk: int = 32,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """The results of ``function`` for each item, in the order of the items.

    Args:
        function: What to do; with workers, it and its results travel between processes.
        items: What to do it with.
        workers: Processes to do it in; 0 does it in this one.
        chunk: Items that a worker handles before it sends results.
        progress: Called after every chunk.

    Raises:
        FrancaError: The function did, here or in a worker.
    """
    loader: DataLoader[Result | FrancaError] = DataLoader(
        _Applied(function, items),
        batch_size=chunk,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=partial(_start_worker, os.getpid()) if workers else None,
        generator=torch.Generator(),  # or the loader would draw from the global one
    )
    done = 0
    for results in loader:
        for result in results:
            if isinstance(result, FrancaError):
                raise result
            yield result
        done += len(results)
        if progress is not None:
            progress(done, len(items))


class _Applied(Dataset[Result | FrancaError]):
    """Hands our errors over as results: raised in a worker they would arrive wrapped in a traceback."""

    def __init__(self, function: Callable[[Any], Result], items: Sequence[Any] | Ints) -> None:
        self._function, self._items = function, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Result | FrancaError:
        try:
            return self._function(self._items[index])
        except FrancaError as error:
            return error


def _start_worker(parent: int, _number: int) -> None:
    """Leave Ctrl-C to the main process, which ends its workers, and die with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent if multiprocessing.get_start_method() == "fork" else None)
