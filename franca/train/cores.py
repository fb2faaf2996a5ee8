"""How many data workers a rank starts where none are asked for."""

from __future__ import annotations

from franca.distributed.cores import usable_cores


def default_workers(ranks: int = 1) -> int:
    """A rank's share of the cores less one, between 1 and 8, where a machine has so many ranks."""
    return min(8, max(1, usable_cores() // ranks - 1))
