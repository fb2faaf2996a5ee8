"""Position embeddings of the grids seen last, so that inference does not resize them again for every batch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from franca.layers.watched import is_traced

Grid = tuple[int, int]
MAX_GRIDS = 32


class PositionCache:
    """Resized embeddings by grid; the oldest is dropped beyond `MAX_GRIDS`.

    What is kept belongs to certain embeddings, so a copy of them is kept too and compared at every use: a change in
    place, new weights, another dtype or another device can never be met by old values. It is no part of a model's
    state: copies and pickles of a cache are empty.
    """

    def __init__(self) -> None:
        self._source = torch.empty(0)
        self._by_grid: OrderedDict[Grid, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._by_grid)

    def __deepcopy__(self, memo: object) -> PositionCache:
        return PositionCache()

    def __reduce__(self) -> tuple[type[PositionCache], tuple[()]]:
        return PositionCache, ()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._source = torch.empty(0)
            self._by_grid.clear()

    def get(self, positions: Tensor, grid: Grid, resize: Callable[[], Tensor]) -> Tensor:
        """The embeddings of a grid, from ``resize`` where they are not known.

        Args:
            positions: the embeddings that are resized, any shape.
            grid: rows and columns.
            resize: gives them for that grid.
        """
        with self._lock:
            if not _equal(self._source, positions):
                self._source = positions.detach().clone()
                self._by_grid.clear()
            if grid not in self._by_grid:
                self._by_grid[grid] = resize()
            self._by_grid.move_to_end(grid)
            if len(self._by_grid) > MAX_GRIDS:
                self._by_grid.popitem(last=False)
            return self._by_grid[grid]


def may_cache(positions: Tensor) -> bool:
    """Whether embeddings may come from a cache: a plain parameter on the CPU, outside of autograd and of tracing.

    Elsewhere comparing costs more than resizing, which is two kernels on a GPU.
    """
    plain = type(positions) is nn.Parameter and positions.device.type == "cpu"
    return plain and not (torch.is_grad_enabled() or torch.compiler.is_compiling() or is_traced())


def _equal(one: Tensor, other: Tensor) -> bool:
    same_kind = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return same_kind and torch.equal(one, other)
