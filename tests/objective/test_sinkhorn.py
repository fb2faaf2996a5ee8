"""Sinkhorn-Knopp against the multiplicative form, its marginals, its extremes, and two ranks against one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from franca.objective.sinkhorn import sinkhorn_potentials
from tests.distributed.ranks import run_ranks


def multiplicative(logits: Tensor, num_iterations: int) -> Tensor:
    """Sinkhorn-Knopp as in SwAV's algorithm 1: scale columns to 1/K and rows to 1/N in turn; rows then sum to 1."""
    q = logits.double().exp()
    num_rows, num_prototypes = q.shape
    for _ in range(num_iterations):
        q = q / q.sum(dim=0, keepdim=True) / num_prototypes
        q = q / q.sum(dim=1, keepdim=True) / num_rows
    return q * num_rows


def assignments(logits: Tensor, num_iterations: int) -> Tensor:
    return torch.softmax(logits.float() + sinkhorn_potentials(logits, num_iterations=num_iterations), dim=1)


@pytest.mark.parametrize("num_iterations", [1, 3, 10])
def test_equals_the_multiplicative_form(num_iterations: int) -> None:
    logits = torch.randn(37, 11, generator=torch.Generator().manual_seed(0)) / 0.3
    expected = multiplicative(logits, num_iterations).float()
    torch.testing.assert_close(assignments(logits, num_iterations), expected, rtol=1e-4, atol=1e-6)


def test_every_prototype_ends_up_equally_used() -> None:
    logits = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) / 0.1 + torch.arange(8) * 3
    q = assignments(logits, 100)
    torch.testing.assert_close(q.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(q.sum(dim=0), torch.full((8,), 64 / 8), rtol=1e-2, atol=1e-2)


def test_does_not_overflow_at_the_coldest_temperature() -> None:
    logits = torch.randn(32, 16, generator=torch.Generator().manual_seed(0)) * 100 / 0.01
    q = assignments(logits, 3)
    assert q.isfinite().all()
    torch.testing.assert_close(q.sum(dim=1), torch.ones(32))


def test_no_rows_give_zero_potentials() -> None:
    assert torch.equal(sinkhorn_potentials(torch.empty(0, 5), num_iterations=3), torch.zeros(5))


def _potentials_of_part(rank: int, parts: list[Tensor]) -> Tensor:
    return sinkhorn_potentials(parts[rank], num_iterations=3)


@pytest.mark.parametrize("sizes", [(7, 3), (10, 0)])
def test_two_ranks_equal_one(sizes: tuple[int, int]) -> None:
    logits = torch.randn(10, 6, generator=torch.Generator().manual_seed(1)) / 0.05
    expected = sinkhorn_potentials(logits, num_iterations=3)
    for potentials in run_ranks(_potentials_of_part, list(logits.split(sizes))):
        torch.testing.assert_close(potentials, expected, rtol=1e-5, atol=1e-5)
