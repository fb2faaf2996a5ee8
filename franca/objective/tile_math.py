"""What is done to a tile of logits, number by number: fused by the compiler where that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


def log_sum_rows(tile: Tensor, u: Tensor) -> Tensor:
    """logsumexp_i(tile_ik + u_i), [c]."""
    return torch.logsumexp(tile + u[:, None], dim=0)


def log_sum_columns(tile: Tensor, v: Tensor | None) -> Tensor:
    """logsumexp_k(tile_ik + v_k), [r]."""
    return torch.logsumexp(tile if v is None else tile + v, dim=1)


def soften(tile: Tensor, v: Tensor | None, z: Tensor, dtype: torch.dtype) -> Tensor:
    """exp(tile_ik + v_k - z_i), [r, c] in ``dtype``; the tile may be overwritten."""
    tile = tile if v is None else tile.add_(v)
    return tile.sub_(z[:, None]).exp_().to(dtype)


@dataclass(frozen=True)
class TileMath:
    """The three, as they are or compiled."""

    log_sum_rows: Callable[[Tensor, Tensor], Tensor] = log_sum_rows
    log_sum_columns: Callable[[Tensor, Tensor | None], Tensor] = log_sum_columns
    soften: Callable[[Tensor, Tensor | None, Tensor, torch.dtype], Tensor] = soften


EAGER = TileMath()


@cache
def compiled() -> TileMath:
    """Each in one pass over the tile, whatever its size; the first calls take seconds."""
    return TileMath(*(torch.compile(function, dynamic=True) for function in (log_sum_rows, log_sum_columns, soften)))
