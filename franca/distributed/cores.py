"""How many cores there are to share."""

from __future__ import annotations

import os

MAX_WORKERS = 8
"""Processes that read images for one rank, unless more are asked for."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spare_cores(ranks: int = 1) -> int:
    """Cores for a rank's workers, where a machine has so many ranks: its share less one, at most `MAX_WORKERS`."""
    return min(MAX_WORKERS, max(0, usable_cores() // ranks - 1))
