"""Which of several backends is fastest here, by trying them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from franca.distributed.reduce import sum_over_ranks
from franca.objective.chunked import Chunked
from franca.objective.targets import Pairs

MOST_ROWS, MOST_PROTOTYPES = 8192, 32_768  # beyond, time grows in proportion
TRIES = 3


@dataclass(frozen=True)
class Task:
    """What a level asks of a backend."""

    num_rows: int
    num_prototypes: int
    width: int
    precision: torch.dtype | None  # of the student's products, None for fp32


def time_backends(backends: Sequence[Chunked], task: Task, device: torch.device) -> list[float]:
    """Seconds of an assignment and a loss by each backend, the mean over ranks of the best of a few tries."""
    seconds = torch.tensor([_best_seconds(backend, task, device) for backend in backends], device=device)
    ranks = sum_over_ranks(torch.ones((), device=device))
    times: list[float] = (sum_over_ranks(seconds) / ranks).tolist()
    return times


def _best_seconds(backend: Chunked, task: Task, device: torch.device) -> float:
    """After one try that compiles what has to be compiled."""
    num_rows, num_prototypes = min(task.num_rows, MOST_ROWS), min(task.num_prototypes, MOST_PROTOTYPES)
    rows = F.normalize(_noise(num_rows, task.width, device), dim=1).requires_grad_()
    weight = _noise(num_prototypes, task.width, device).requires_grad_()
    row = torch.arange(num_rows, device=device)
    pairs = Pairs(row, row, torch.full((num_rows,), 1 / num_rows, device=device))

    def once() -> float:
        started = time.perf_counter()
        with torch.autocast(device.type, dtype=task.precision, enabled=task.precision is not None):
            targets = backend.assign(rows.detach(), weight.detach(), temperature=0.04, num_iterations=3)
            loss = backend.cross_entropy(rows, weight, targets, pairs, temperature=0.1)
        loss.item()  # waits for the device
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(TRIES))


def _noise(rows: int, width: int, device: torch.device) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator(device).manual_seed(rows), device=device)
