"""Independent pieces of work, shared among ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from franca.distributed.together import gather, raising_together, share_of

Item = TypeVar("Item")
Found = TypeVar("Found")


def spread(items: Sequence[Item], function: Callable[[Item], Found]) -> list[Found]:
    """``[function(item) for item in items]`` on every rank, each item computed by one of them.

    Args:
        items: The same on every rank.
        function: Its results can be pickled.

    Raises:
        FrancaError: What ``function`` raised on some rank; on all of them.
    """
    with raising_together():
        mine = [function(item) for item in share_of(items)]
    shares = gather(mine)
    return [shares[index % len(shares)][index // len(shares)] for index in range(len(items))]
