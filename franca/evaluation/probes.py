"""Many linear classifiers on the same features, trained together.

Classifiers of a group read the same columns and differ in learning rate only, so one product [B, F] x [F, R*C] serves
all of them. Groups are column ranges of one matrix, so nothing is copied. The gradient of softmax regression is one
line, which is written out: building a graph for it would cost more than the products.

Shapes: B images, F columns, R learning rates, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

MOMENTUM = 0.9


@dataclass(frozen=True)
class Candidate:
    """One classifier: the columns it reads, and its learning rate."""

    name: str  # of its features
    start: int
    stop: int
    learning_rate: float


class Group:
    """Classifiers that read the same columns, and their momentum. All start at zero: the loss is convex."""

    def __init__(self, candidates: Sequence[Candidate], num_classes: int, device: torch.device) -> None:
        self.candidates = tuple(candidates)
        self.columns = slice(candidates[0].start, candidates[0].stop)
        self.num_classes = num_classes
        rates = torch.tensor([candidate.learning_rate for candidate in candidates], device=device)
        self.rates = rates.repeat_interleave(num_classes)  # [R*C]
        self.weight = torch.zeros(self.columns.stop - self.columns.start, len(self.rates), device=device)  # [F, R*C]
        self.bias = torch.zeros_like(self.rates)  # [R*C]
        self._weight_momentum = torch.zeros_like(self.weight)
        self._bias_momentum = torch.zeros_like(self.bias)

    def logits(self, features: Tensor) -> Tensor:
        """[B, R, C] for standardised features [B, all columns]."""
        scores = torch.addmm(self.bias, features[:, self.columns], self.weight)  # [B, R*C]
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
        self._weight_momentum.addmm_(features[:, self.columns].T, error, beta=MOMENTUM)
        self._bias_momentum.mul_(MOMENTUM).add_(error.sum(0))
        self.weight.addcmul_(self._weight_momentum, self.rates, value=-decay)
        self.bias.addcmul_(self._bias_momentum, self.rates, value=-decay)


class Trainer:
    """Takes all classifiers through the same batches; learning rates fall to zero on a cosine.

    Args:
        candidates: Those with the same columns become a group.
        num_steps: Batches that there will be.
    """

    def __init__(
        self, candidates: Sequence[Candidate], *, num_classes: int, num_steps: int, device: torch.device
    ) -> None:
        of_columns: dict[tuple[int, int], list[Candidate]] = {}
        for candidate in candidates:
            of_columns.setdefault((candidate.start, candidate.stop), []).append(candidate)
        self.groups = [Group(members, num_classes, device) for members in of_columns.values()]
        self._num_steps = num_steps
        self._step = 0

    def step(self, features: Tensor, labels: Tensor) -> None:
        """One batch: standardised features [B, all columns] and labels [B]; an empty one only moves the schedule."""
        decay = 0.5 * (1 + math.cos(math.pi * self._step / self._num_steps))
        for group in self.groups if len(labels) else []:
            group.step(features, labels, decay)
        self._step += 1


@dataclass(frozen=True)
class Score:
    """How a classifier does on some images."""

    accuracy: float
    loss: float  # mean cross-entropy


def judge(groups: Sequence[Group], batches: Iterable[tuple[Tensor, Tensor]]) -> dict[Candidate, Score]:
    """The score of every classifier on batches of standardised features [B, all columns] and labels [B]."""
    right = [torch.zeros(len(group.candidates)) for group in groups]
    loss = [torch.zeros(len(group.candidates)) for group in groups]
    num_images = 0
    for features, labels in batches:
        num_images += len(labels)
        for index, group in enumerate(groups):
            logits = group.logits(features)  # [B, R, C]
            targets = labels[:, None].expand(logits.shape[:2])
            right[index] += (logits.argmax(-1) == targets).sum(0).cpu()
            loss[index] += cross_entropy(logits.movedim(-1, 1), targets, reduction="none").sum(0).cpu()
    return {
        candidate: Score(float(hits) / num_images, float(total) / num_images)
        for index, group in enumerate(groups)
        for candidate, hits, total in zip(group.candidates, right[index], loss[index], strict=True)
    }


def batches_of(rows: Tensor, *, epochs: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Every row once per epoch, in an order that depends on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield from rows[torch.randperm(len(rows), generator=generator)].split(batch_size)
