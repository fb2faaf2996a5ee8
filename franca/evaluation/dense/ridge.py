"""Ridge regression from sums over rows, so that rows need not be in memory together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Regression:
    """A linear map with intercept."""

    weight: Tensor  # [D, T] float64
    intercept: Tensor  # [T] float64

    def __call__(self, rows: Tensor) -> Tensor:
        """[n, D] to [n, T]."""
        return rows @ self.weight + self.intercept


class RidgeSums:
    """What ridge regression needs to know about rows x [n, D] and targets y [n, T], in float64."""

    def __init__(self, width: int, num_targets: int, device: torch.device | str = "cpu") -> None:
        joint = 1 + width + num_targets
        self._width = width
        self._sums = torch.zeros(joint, joint, dtype=torch.float64, device=device)  # of all products of (1, x, y)

    def add(self, rows: Tensor, targets: Tensor) -> None:
        """Counts rows [n, D] with their targets [n, T]."""
        ones = rows.new_ones(len(rows), 1, dtype=torch.float64)
        joint = torch.cat([ones, rows.double(), targets.double()], dim=1)
        self._sums += joint.T @ joint

    def solve(self, matrix: Tensor, alpha: float) -> Regression:
        """Ridge regression on ``x @ matrix``; the intercept is not penalised.

        Args:
            matrix: [D, d] float64.
            alpha: Factor of the squared weights, beside the sum of squared errors; above 0.

        Returns:
            A map from x @ matrix [n, d] to y [n, T].
        """
        count, total = self._sums[0, 0], self._sums[0, 1:]
        spread = self._sums[1:, 1:] - torch.outer(total, total) / count  # centred products of (x, y)
        gram = matrix.T @ spread[: self._width, : self._width] @ matrix
        target = matrix.T @ spread[: self._width, self._width :]
        penalty = alpha * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        weight = torch.linalg.solve(gram + penalty, target)
        mean = total / count
        return Regression(weight, mean[self._width :] - mean[: self._width] @ matrix @ weight)
