"""Many linear classifiers on the same features, trained together.

Classifiers of a group read the same columns and differ in learning rate only, so one product [B, F] x [F, R*C] serves
all of them. Groups are column ranges of one matrix, so nothing is copied. The gradient of softmax regression is one
line, which is written out: building a graph for it would cost more than the products.

Shapes: B images, F columns, R learning rates, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

MOMENTUM = 0.9
EVALUATION_ROWS = 4096


@dataclass(frozen=True)
class Group:
    """Classifiers that read the same columns, one per learning rate."""

    name: str
    columns: slice
    learning_rates: tuple[float, ...]


@dataclass(frozen=True)
class Standardiser:
    """Takes every column to mean 0 and standard deviation 1, as measured on the training images."""

    mean: Tensor  # [F]
    scale: Tensor  # [F]

    @classmethod
    def of(cls, features: Tensor) -> Standardiser:
        """Measured on ``features`` [n, F]; a constant column becomes 0."""
        std, mean = torch.std_mean(features, dim=0, correction=0)
        constant = std <= 1e-6 * mean.abs()
        return cls(mean, torch.where(constant, 0.0, 1 / std))

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.scale


class Probes:
    """The classifiers of a group and their momentum. All start at zero: the loss is convex."""

    def __init__(self, group: Group, num_classes: int, device: torch.device) -> None:
        self.group = group
        self.num_classes = num_classes
        rates = torch.tensor(group.learning_rates, dtype=torch.float32, device=device)
        self.rates = rates.repeat_interleave(num_classes)  # [R*C]
        num_columns = group.columns.stop - group.columns.start
        self.weight = torch.zeros(num_columns, len(self.rates), device=device)  # [F, R*C]
        self.bias = torch.zeros_like(self.rates)  # [R*C]
        self._weight_momentum = torch.zeros_like(self.weight)
        self._bias_momentum = torch.zeros_like(self.bias)

    def logits(self, features: Tensor) -> Tensor:
        """[B, R, C] for standardised features [B, all columns]."""
        scores = torch.addmm(self.bias, features[:, self.group.columns], self.weight)  # [B, R*C]
        return scores.view(len(features), -1, self.num_classes)

    def step(self, features: Tensor, labels: Tensor, decay: float) -> None:
        """One step of SGD with momentum on the mean cross-entropy of every classifier.

        Args:
            features: [B, all columns], standardised.
            labels: [B], int64.
            decay: What the schedule multiplies every learning rate with, in [0, 1].
        """
        error = self.logits(features).softmax(-1)  # [B, R, C]
        error[torch.arange(len(labels), device=labels.device), :, labels] -= 1
        error = error.flatten(1) / len(labels)  # [B, R*C]: the gradient of the logits
        self._weight_momentum.addmm_(features[:, self.group.columns].T, error, beta=MOMENTUM)
        self._bias_momentum.mul_(MOMENTUM).add_(error.sum(0))
        self.weight.addcmul_(self._weight_momentum, self.rates, value=-decay)
        self.bias.addcmul_(self._bias_momentum, self.rates, value=-decay)


def train_probes(
    features: Tensor,
    labels: Tensor,
    groups: Sequence[Group],
    *,
    num_classes: int,
    epochs: int,
    batch_size: int,
    seed: int,
) -> list[Probes]:
    """Trains every classifier of every group on the same batches; learning rates fall to zero on a cosine.

    Args:
        features: [n, all columns], standardised; all work is done on their device.
        labels: [n], int64, on the same device.
    """
    probes = [Probes(group, num_classes, features.device) for group in groups]
    steps = epochs * math.ceil(len(labels) / batch_size)
    for step, rows in enumerate(_batches(len(labels), epochs, batch_size, seed)):
        rows = rows.to(features.device)
        batch, batch_labels = features[rows], labels[rows]
        for probe in probes:
            probe.step(batch, batch_labels, decay=0.5 * (1 + math.cos(math.pi * step / steps)))
    return probes


def accuracy_and_loss(probes: Probes, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy [R] and mean cross-entropy [R] of the classifiers of a group on standardised features."""
    right = torch.zeros(len(probes.group.learning_rates), device=features.device)
    loss = torch.zeros_like(right)
    for rows in torch.arange(len(labels), device=features.device).split(EVALUATION_ROWS):
        logits = probes.logits(features[rows])  # [B, R, C]
        right += (logits.argmax(-1) == labels[rows, None]).sum(0)
        targets = labels[rows, None].expand(logits.shape[:2])
        loss += cross_entropy(logits.movedim(-1, 1), targets, reduction="none").sum(0)
    return right / len(labels), loss / len(labels)


def _batches(num_rows: int, epochs: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Every row once per epoch, in an order that depends on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield from torch.randperm(num_rows, generator=generator).split(batch_size)
