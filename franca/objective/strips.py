"""Sums over logits, a run of prototypes at a time.

Sinkhorn-Knopp and the student's softmax need only logsumexp over rows and over columns. A strip holds all rows of a
rank over a run of prototypes and gives these two sums; a set of strips covers all prototypes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from franca.objective.logits import Logits, sum_dtype
from franca.objective.tile_math import EAGER, TileMath
from franca.objective.tiles import Cut, runs


class Strip(Protocol):
    """Logits S [R, c] of all rows over a run of c prototypes, known by their sums alone."""

    @property
    def columns(self) -> slice:
        """Which of the K prototypes."""

    def over_rows(self, u: Tensor) -> Tensor:
        """logsumexp_i(S_ik + u_i), [c]; minus infinity where there is no row."""

    def over_columns(self, v: Tensor | None = None) -> Tensor:
        """logsumexp_k(S_ik + v_k), [R]."""


@dataclass(frozen=True)
class HeldStrip:
    """Logits that are held: all of them in the dense form, or a tile."""

    matrix: Tensor  # [R, K]
    tile_math: TileMath = EAGER

    @property
    def columns(self) -> slice:
        return slice(0, self.matrix.shape[1])

    def over_rows(self, u: Tensor) -> Tensor:
        return self.tile_math.log_sum_rows(self.matrix, u)

    def over_columns(self, v: Tensor | None = None) -> Tensor:
        return self.tile_math.log_sum_columns(self.matrix, v)


@dataclass(frozen=True)
class TiledStrip:
    """Logits computed when they are needed; one tile is kept for both sums where all rows fit into it."""

    logits: Logits
    columns: slice
    rows_per_tile: int
    tile_math: TileMath = EAGER

    @cached_property
    def _directions(self) -> Tensor:
        return self.logits.directions(self.columns)

    @cached_property
    def _only_tile(self) -> HeldStrip:
        return HeldStrip(self.logits.tile(slice(None), self._directions), self.tile_math)

    def _tiles(self) -> Iterator[tuple[slice, HeldStrip]]:
        num_rows = len(self.logits.rows)
        if num_rows <= self.rows_per_tile:
            yield slice(0, num_rows), self._only_tile
            return
        for rows in runs(num_rows, self.rows_per_tile):
            yield rows, HeldStrip(self.logits.tile(rows, self._directions), self.tile_math)

    def over_rows(self, u: Tensor) -> Tensor:
        total = u.new_full((len(self._directions),), -math.inf)
        for rows, tile in self._tiles():
            total = torch.logaddexp(total, tile.over_rows(u[rows]))
        return total

    def over_columns(self, v: Tensor | None = None) -> Tensor:
        return torch.cat([tile.over_columns(v) for _, tile in self._tiles()])


@dataclass(frozen=True)
class TiledStrips:
    """The strips that a cut gives; going through them again computes them again."""

    logits: Logits
    cut: Cut
    tile_math: TileMath = EAGER

    def __iter__(self) -> Iterator[Strip]:
        for columns in runs(len(self.logits.weight), self.cut.columns):
            yield TiledStrip(self.logits, columns, self.cut.rows, self.tile_math)


def log_normalizers(strips: Iterable[Strip], num_rows: int, *, like: Tensor) -> Tensor:
    """logsumexp_k(S_ik) over all strips, [R], on the device of ``like`` and in its dtype of sums."""
    total = like.new_full((num_rows,), -math.inf, dtype=sum_dtype(like))
    for strip in strips:
        total = torch.logaddexp(total, strip.over_columns())
    return total
