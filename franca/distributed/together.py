"""What ranks settle among themselves: yes or no, who writes, which error ends them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

from franca.distributed.reduce import is_distributed, sum_over_ranks
from franca.errors import FrancaError

T = TypeVar("T")


def is_rank_zero() -> bool:
    """Whether this is the rank that prints and writes; the only one is."""
    return not is_distributed() or dist.get_rank() == 0


def any_rank(condition: bool) -> bool:
    """Whether the condition holds on one rank at least. Settled on the CPU, so that no device has to wait."""
    return bool(sum_over_ranks(torch.tensor(int(condition)))) if is_distributed() else condition


def gather(value: T) -> list[T]:
    """The values of all ranks, in their order."""
    if not is_distributed():
        return [value]
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]  # all places are filled


def share_of(items: Sequence[T]) -> Sequence[T]:
    """This rank's part of independent work: every item that many ranks apart, from its own number on."""
    return items[dist.get_rank() :: dist.get_world_size()] if is_distributed() else items


def raise_together(error: FrancaError | None) -> None:
    """Raise the first rank's error on every rank, so that none waits for another that has left.

    Args:
        error: What went wrong on this rank, or None.
    """
    if not any_rank(error is not None):
        return
    if error is not None:
        error.met_on_rank = dist.get_rank() if is_distributed() else None
    found = gather(error)
    first = next(rank for rank, one in enumerate(found) if one is not None)
    # What was sent lacks the error that it was raised from, which only this very one still has.
    raise error if error is not None and error.met_on_rank in (None, first) else found[first]  # type: ignore[misc]


@contextmanager
def raising_together() -> Iterator[None]:
    """A context for work that each rank does alone; the first rank's error in it is raised on every rank at its end.

    Every rank must enter it. What is not ours to foresee, and so no `FrancaError`, passes at once.
    """
    failure: FrancaError | None = None
    try:
        yield
    except FrancaError as error:
        failure = error
    raise_together(failure)


def on_rank_zero(function: Callable[[], T]) -> T:
    """Call a function on rank 0 only, and give its result, or its error, to every rank.

    Args:
        function: Touches files; result and errors can be pickled.
    """
    if not is_distributed():
        return function()
    found: list[tuple[T | None, Exception | None]] = [(None, None)]
    if is_rank_zero():
        try:
            found = [(function(), None)]
        except Exception as error:
            if isinstance(error, FrancaError):
                error.met_on_rank = 0
            found = [(None, error)]
    dist.broadcast_object_list(found)
    result, failure = found[0]
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]  # None only where the function returns it
