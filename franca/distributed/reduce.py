"""Sums over all ranks; on one process each function returns its input."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether a process group exists; one process needs none."""
    return dist.is_available() and dist.is_initialized()


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum of ``value`` over all ranks, as a new tensor; never in place."""
    if not is_distributed():
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total


def count_over_ranks(number: int, device: torch.device) -> int:
    """Sum of a Python integer over all ranks; nothing touches the device on one process."""
    return int(sum_over_ranks(torch.tensor(number, device=device))) if is_distributed() else number


def max_over_ranks(number: int, device: torch.device) -> int:
    """Largest of a Python integer over all ranks; nothing touches the device on one process."""
    if not is_distributed():
        return number
    largest = torch.tensor(number, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return int(largest)


def logsumexp_over_ranks(value: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials of ``value`` over all ranks, element by element; safe from overflow."""
    if not is_distributed():
        return value
    peak = value.clone()
    dist.all_reduce(peak, op=dist.ReduceOp.MAX)
    peak = torch.where(peak.isfinite(), peak, torch.zeros_like(peak))  # -inf on every rank: no rows anywhere
    return sum_over_ranks((value - peak).exp()).log() + peak
