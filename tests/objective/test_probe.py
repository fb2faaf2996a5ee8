"""Timing backends: every one gets a time, large tasks are tried at a smaller size."""

from __future__ import annotations

import pytest
import torch

from franca.objective import probe
from franca.objective.chunked import Chunked
from franca.objective.probe import Task, time_backends

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_every_backend_gets_a_time(precision: torch.dtype | None) -> None:
    task = Task(num_rows=16, num_prototypes=300, width=4, precision=precision)
    times = time_backends([Chunked(2**20), Chunked(2**14)], task, CPU)
    assert len(times) == 2 and all(0 < t < 10 for t in times)


def test_a_large_task_is_tried_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MOST_ROWS", 10)
    monkeypatch.setattr(probe, "MOST_PROTOTYPES", 20)
    (time,) = time_backends([Chunked(2**20)], Task(10**7, 10**7, 4, None), CPU)  # 400 TB of logits
    assert time < 10
