"""How many data workers a rank starts where none are asked for."""

from __future__ import annotations

from franca.distributed.cores import spare_cores


def default_workers(ranks: int = 1) -> int:
    """One at least, so that batches are made while the network is at work; else see `spare_cores`."""
    return max(1, spare_cores(ranks))
