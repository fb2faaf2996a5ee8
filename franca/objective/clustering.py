"""Clustering losses: the student predicts, per level, the balanced assignment that the teacher's tokens got.

DINO and iBOT are the same loss on other tokens; each says which tokens it reads and which rows form pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from franca.batch import Batch
from franca.models.vision_transformer import Features
from franca.objective.heads import MatryoshkaHead
from franca.objective.targets import Pairs, Targets


class Tokens(Protocol):
    """Which tokens a clustering loss reads, and which student row predicts which teacher row."""

    def teacher(self, crops: Features, batch: Batch) -> Tensor:
        """[R, D] from the teacher's global crops."""

    def student(self, crops: Sequence[Features], batch: Batch) -> Tensor:
        """[R', D] from the student's crops, global ones first."""

    def pairs(self, batch: Batch) -> Pairs:
        """Pairs of rows; their weights sum to 1 over the global batch where every image takes part."""


@dataclass(frozen=True)
class Clustering:
    """A clustering loss with its name (that of its head), weight and temperatures."""

    name: str
    tokens: Tokens
    weight: float
    student_temperature: float
    sinkhorn_iterations: int

    def assign(
        self, head: MatryoshkaHead, micro_batches: Sequence[list[Tensor]], *, temperature: float
    ) -> list[list[Targets]]:
        """Balance the teacher's bottlenecks of all micro-batches at once, level by level.

        Args:
            head: The teacher's.
            micro_batches: Per micro-batch and level, bottlenecks [R, b].
            temperature: The teacher's.

        Returns:
            Per micro-batch and level, targets.
        """
        levels = []
        for prototypes, rows in zip(head.prototypes, zip(*micro_batches, strict=True), strict=True):
            targets = prototypes.assign(
                torch.cat(rows), temperature=temperature, num_iterations=self.sinkhorn_iterations
            )
            levels.append(targets.split([len(part) for part in rows]))
        return [list(level) for level in zip(*levels, strict=True)]

    def losses(
        self, head: MatryoshkaHead, crops: Sequence[Features], batch: Batch, targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """The unweighted loss of every level, by `level_names`; fp32 scalars."""
        pairs = self.tokens.pairs(batch)
        bottlenecks = head(self.tokens.student(crops, batch))
        levels = zip(self.level_names(head), head.prototypes, bottlenecks, targets, strict=True)
        return {
            name: prototypes(rows, target, pairs, temperature=self.student_temperature)
            for name, prototypes, rows, target in levels
        }

    def level_names(self, head: MatryoshkaHead) -> list[str]:
        """A name for every level, such as ``dino_d192``."""
        return [f"{self.name}_d{width}" for width in head.widths]

    def total_weight(self, batch: Batch) -> Tensor:
        """What the weights of a micro-batch's pairs add up to; 1 over a global batch where every image takes part."""
        return self.tokens.pairs(batch).weight.sum()
