"""Many functions minimised at once, against what is known of each."""

from __future__ import annotations

import torch
from torch import Tensor

from franca.evaluation.lbfgs import minimise

GENERATOR = torch.Generator().manual_seed(0)
ROOTS = torch.randn(6, 8, 8, generator=GENERATOR)
HESSIANS = ROOTS @ ROOTS.mT + 0.1 * torch.eye(8)
CENTRES = torch.randn(6, 8, generator=GENERATOR)


def bowls(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convex, steeper than quadratic, 1 at its lowest."""
    offset = points - CENTRES[which]
    slope = (HESSIANS[which] @ offset[..., None])[..., 0]
    value = 1 + (offset * slope).sum(1) / 2 + offset.pow(4).sum(1)
    return value, slope + 4 * offset.pow(3), HESSIANS[which].diagonal(dim1=1, dim2=2)


def test_every_function_reaches_its_own_minimum() -> None:
    found = minimise(bowls, torch.zeros(6, 8), max_iterations=200, tolerance=1e-5)
    assert found.converged.all()
    torch.testing.assert_close(found.points, CENTRES, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.values, torch.ones(6), atol=1e-6, rtol=0)


def test_together_equals_alone() -> None:
    together = minimise(bowls, torch.zeros(6, 8), max_iterations=7, tolerance=0)
    for index in range(6):

        def alone(points: Tensor, which: Tensor, index: int = index) -> tuple[Tensor, Tensor, Tensor]:
            return bowls(points, which + index)

        found = minimise(alone, torch.zeros(1, 8), max_iterations=7, tolerance=0)
        torch.testing.assert_close(found.points[0], together.points[index], atol=1e-4, rtol=1e-3)


def test_a_function_that_is_done_is_not_asked_again() -> None:
    asked: list[int] = []

    def counted(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        asked.append(len(which))
        return bowls(points, which)

    start = CENTRES.clone()
    start[3] = 5
    minimise(counted, start, max_iterations=100, tolerance=1e-5)
    assert asked[0] == 6 and asked[-1] == 1


def test_too_few_iterations_are_told() -> None:
    found = minimise(bowls, torch.zeros(6, 8), max_iterations=2, tolerance=1e-6)
    assert not found.converged.any()
    assert (found.values < bowls(torch.zeros(6, 8), torch.arange(6))[0]).all()
