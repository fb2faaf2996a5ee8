"""Multinomial logistic regression with an L2 penalty, for many strengths of the penalty at once.

The objective is scikit-learn's: C * (sum of cross-entropies) + |weights|^2 / 2, the intercept free of penalty. Features
are centred, scaled by one number and turned to their principal axes before the search. None of this changes the
objective, since the intercept takes the centre and a rotation keeps |weights|; but there the curvature is nearly known.

Shapes: n images, F features, A axes, K classes, P strengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.evaluation.lbfgs import minimise
from franca.evaluation.pca import Pca

TOLERANCE = 1e-5  # of the gradient of the mean loss, features having a mean square of 1
NEGLIGIBLE = 1e-12  # variance of an axis, relative to the largest: rounding, no feature
ROUNDING = torch.finfo(torch.float32).eps ** 2  # the same, relative to the squared mean: features that never change
MAX_LOGITS = 1 << 25  # held at once: 128 MiB in fp32
MAX_PARAMETERS = 1 << 26  # of the problems that are solved together; their search remembers some 25 times as many


@dataclass(frozen=True)
class Fitted:
    """One classifier for each C."""

    all_c: tuple[float, ...]
    weight: Tensor  # [P, F, K]
    bias: Tensor  # [P, K]
    objective: Tensor  # [P], as stated above, divided by C * n
    converged: Tensor  # [P] bool

    def logits(self, features: Tensor) -> Tensor:
        """[P, B, K] of features [B, F]."""
        return features @ self.weight + self.bias[:, None]


def fit(
    features: Tensor, labels: Tensor, all_c: Sequence[float], *, num_classes: int, max_iterations: int = 1000
) -> Fitted:
    """The classifiers that minimise the objective for each C.

    With two classes the objective is that of scikit-learn's one vector of weights: the penalty counts twice.

    Args:
        features: [n, F] float32; all work is done on their device.
        labels: [n], int64 in [0, num_classes), on the same device.
        all_c: Inverse strengths of the penalty, above 0.
    """
    pca = Pca.of(features, features.device)
    rounding = torch.maximum(NEGLIGIBLE * pca.variances[0], ROUNDING * pca.mean.square().sum())
    axes = pca.components[:, pca.variances > rounding]  # [F, A]; none where features never change
    turned = (features - pca.mean) @ axes
    scale = turned.square().sum().div(max(1, turned.numel())).sqrt()
    scale = torch.where(scale > 0, scale, 1)
    turned = torch.cat([turned / scale, turned.new_ones(len(turned), 1)], dim=1)  # [n, A + 1]: 1 is the intercept's
    twice = 2 if num_classes == 2 else 1
    penalties = [twice / (c * len(labels)) / float(scale) ** 2 for c in all_c]
    together = max(1, MAX_PARAMETERS // (turned.shape[1] * num_classes))
    fits = [
        _Problems(turned, labels, penalties[at : at + together], num_classes).solve(max_iterations)
        for at in range(0, len(all_c), together)
    ]
    found, objective, converged = (torch.cat(parts) for parts in zip(*fits, strict=True))
    weight = axes @ found[:, :-1] / scale  # [P, F, K]
    return Fitted(tuple(all_c), weight, found[:, -1] - pca.mean @ weight, objective, converged)


class _Problems:
    """The objectives of several strengths on the same features, divided by C * n.

    Args:
        features: [n, A + 1], the last column 1.
        penalties: P of them, each the factor of |weights|^2 / 2.
    """

    def __init__(self, features: Tensor, labels: Tensor, penalties: Sequence[float], num_classes: int) -> None:
        self._features, self._labels, self._num_classes = features, labels, num_classes
        self._penalties = torch.tensor(penalties, dtype=torch.float32, device=features.device)  # [P]
        self._penalised = torch.ones(features.shape[1], device=features.device)
        self._penalised[-1] = 0
        self._variances = features.square().mean(0)  # [A + 1]

    def solve(self, max_iterations: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights with the intercept last [P, A + 1, K], objectives [P], whether found [P]."""
        shape = len(self._penalties), self._features.shape[1], self._num_classes
        start = torch.zeros(shape, device=self._features.device)
        minimum = minimise(self.evaluate, start.flatten(1), max_iterations=max_iterations, tolerance=TOLERANCE)
        return minimum.points.view(shape), minimum.values, minimum.converged

    def evaluate(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values [Q], gradients and second derivatives [Q, N] of some of the problems at ``points`` [Q, N]."""
        num_features = self._features.shape[1]
        weight = points.view(len(which), num_features, self._num_classes)
        columns = weight.transpose(0, 1).flatten(1)  # [A + 1, Q * K]: one product serves all problems
        loss, doubt, slope = points.new_zeros(len(which)), points.new_zeros(len(which)), torch.zeros_like(columns)
        rows_at_once = max(1, MAX_LOGITS // columns.shape[1])
        for rows in torch.arange(len(self._labels), device=points.device).split(rows_at_once):
            features, labels = self._features[rows], self._labels[rows]
            own = torch.arange(len(rows), device=rows.device), slice(None), labels
            scores = (features @ columns).view(len(rows), len(which), -1).log_softmax(-1)  # [B, Q, K]
            own_score = scores[own]  # [B, Q]
            error = scores.exp_()
            error[own] = 0
            others = error.sum(-1)  # near 0 where a class is certain; 1 - p would round it away
            loss += torch.where(others < 0.5, -torch.log1p(-others), -own_score).sum(0)
            doubt += others.sum(0)
            error[own] = -others
            slope += features.T @ error.flatten(1)
        penalty = self._penalties[which]
        held = weight * self._penalised[:, None]  # the intercept is free
        value = loss / len(self._labels) + penalty / 2 * held.square().sum((1, 2))
        gradient = slope.view(num_features, len(which), -1).transpose(0, 1) / len(self._labels)
        curvature = doubt[:, None] / len(self._labels) / self._num_classes * self._variances
        curvature = (curvature + penalty[:, None] * self._penalised)[..., None].expand_as(weight).flatten(1)
        return value, (gradient + penalty[:, None, None] * held).flatten(1), curvature
