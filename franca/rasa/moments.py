"""Sums over patches that say all about linear maps from features to position.

With the first and second moments of the features [D], and their products with position, the least squares of features
under any projector follow without another look at the features. Every image has a patch at every place, so the mean
position is known beforehand: the middle of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from franca.distributed.reduce import sum_over_ranks
from franca.models.projector import Projector
from franca.rasa.patches import ImagePatches

RIDGE = 1e-9  # of the mean variance of a feature: keeps removed directions, which have none, out of the solution


@dataclass(frozen=True)
class Moments:
    """Sums over the patches of a set of images, float64, on the CPU.

    Attributes:
        positions: [N, A], of the patches of one image, minus their mean.
        shift: [D], subtracted from the features beforehand, so that nothing is lost to a large mean.
        count: patches.
        total: [D], sum of the shifted features.
        square: [D, D], sum of the products of shifted features.
        cross: [D, A], sum of the products of shifted features and positions.
    """

    positions: Tensor
    shift: Tensor
    count: int
    total: Tensor
    square: Tensor
    cross: Tensor

    @classmethod
    def of(cls, patches: ImagePatches, positions: Tensor, shift: Tensor) -> Moments:
        """Counted over all images of all ranks, in float64.

        Args:
            patches: of the images.
            positions: [N, A], of the patches of one image.
            shift: [D], near the mean of the features.
        """
        width, centred = len(shift), positions - positions.mean(0)
        sums = torch.zeros(width, 1 + width + centred.shape[1], dtype=torch.float64)
        for batch in patches.all():
            batch = batch.cpu() if batch.device.type == "mps" else batch  # which has no float64
            shifted = batch.double() - shift.to(batch.device)  # [B, N, D]
            rows = shifted.flatten(0, 1)
            by_place = shifted.sum(0).cpu()  # [N, D]: every image has the same positions
            square = (rows.T @ rows).cpu()
            sums += torch.cat([by_place.sum(0)[:, None], square, by_place.T @ centred], dim=1)
        total, square, cross = sum_over_ranks(sums).split([1, width, centred.shape[1]], dim=1)
        return cls(centred, shift, len(patches) * len(positions), total[:, 0], square, cross)

    @property
    def mean(self) -> Tensor:
        """[D], of the features."""
        return self.shift + self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """[D, D], of the features."""
        beside = self.mean - self.shift
        return self.square / self.count - torch.outer(beside, beside)

    @property
    def energy(self) -> Tensor:
        """[D, D], mean of the products of the features; the trace is their mean squared length."""
        return self.covariance + torch.outer(self.mean, self.mean)

    @property
    def position_covariance(self) -> Tensor:
        """[D, A], of features and positions."""
        return self.cross / self.count


@dataclass(frozen=True)
class Readability:
    """How well a linear map reads position from features of other images."""

    r2: float  # share of the variance of row and column that is explained, mean of the two; at most 1
    error: float  # root mean square error of row and column, as a share of the side


def readability(train: Moments, held_out: Moments, projector: Projector) -> Readability:
    """Least squares with intercept on the projected features of some images, judged on those of others."""
    matrix = projector.matrix
    slope = _least_squares(matrix @ train.covariance @ matrix, matrix @ train.position_covariance)
    seen = matrix @ slope  # [D, A]
    # The mean square of (position - seen^T (z - mean of training)) over the held-out patches, multiplied out.
    offset = held_out.mean - train.mean
    spread = held_out.covariance + torch.outer(offset, offset)
    explained = 2 * (seen * held_out.position_covariance).sum(0) - (seen * (spread @ seen)).sum(0)
    variance = train.positions.square().mean(0)  # [A]
    r2 = (explained / variance).mean()
    error = (variance - explained).clamp_min(0).mean().sqrt()
    return Readability(float(r2), float(error))


def removed_share(moment: Tensor, projector: Projector) -> float:
    """Share of the trace of a second moment [D, D] that lies in the directions that a projector removes."""
    basis = projector.basis
    return float((basis @ moment * basis).sum() / moment.trace())


def _least_squares(covariance: Tensor, cross: Tensor) -> Tensor:
    """[D, A]."""
    ridge = RIDGE * covariance.trace() / len(covariance)
    solution: Tensor = torch.linalg.solve(covariance + ridge * torch.eye(len(covariance), dtype=torch.float64), cross)
    return solution
