"""Prototypes of one level: what a bottleneck feature is compared with.

Nobody else touches the prototypes' weight. The teacher's prototypes `assign` rows and hand out `Targets`, which are
opaque to everyone but the student's prototypes, whose forward turns them into a loss. A target is never a [rows, K]
matrix; it is what is needed to compute one: teacher bottlenecks, unit prototypes and Sinkhorn's potentials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from franca.objective.sinkhorn import sinkhorn_potentials


@dataclass(frozen=True)
class Targets:
    """Soft assignments of teacher rows: row i is softmax_k(bottleneck_i . directions_k / temperature + v_k)."""

    bottleneck: Tensor  # [R, b]
    directions: Tensor  # [K, b]
    potentials: Tensor  # [K]
    temperature: float

    def split(self, sizes: list[int]) -> list[Targets]:
        """The same targets for consecutive runs of rows, one run a micro-batch."""
        return [replace(self, bottleneck=rows) for rows in self.bottleneck.split(sizes)]

    def assignments(self) -> Tensor:
        """The assignments themselves, [R, K] in fp32; each row sums to one."""
        logits = teacher_logits(self.bottleneck, self.directions, self.temperature)
        return torch.softmax(logits.add_(self.potentials), dim=1)


def teacher_logits(bottleneck: Tensor, directions: Tensor, temperature: float) -> Tensor:
    """Logits [R, K] in fp32 throughout: bf16 products, divided by a cold temperature, would be off by a tenth."""
    with torch.autocast(bottleneck.device.type, enabled=False):
        return F.linear(bottleneck.float(), directions).div_(temperature)


@dataclass(frozen=True)
class Pairs:
    """Which student row is to predict which teacher row, and what that pair weighs in the loss."""

    student: Tensor  # [P] int64
    teacher: Tensor  # [P] int64
    weight: Tensor  # [P] float32


class Prototypes(nn.Module):
    """K prototypes of unit length; a row's logits are its products with them."""

    def __init__(self, num_prototypes: int, bottleneck: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_prototypes, bottleneck))  # [K, b]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the weight. Its length does not change the logits, but how far a step of AdamW turns it does."""
        nn.init.trunc_normal_(self.weight, std=0.02, generator=generator)

    @property
    def directions(self) -> Tensor:
        """Prototypes normalised to unit length, [K, b] in fp32."""
        return F.normalize(self.weight.float(), dim=1)

    @torch.no_grad()
    def assign(self, bottleneck: Tensor, *, temperature: float, num_iterations: int) -> Targets:
        """Balance the assignment of all rows over the prototypes.

        Args:
            bottleneck: [R, b], the teacher's rows of the whole global batch on this rank.
            temperature: Teacher temperature, above 0.
            num_iterations: Rounds of Sinkhorn-Knopp.
        """
        directions = self.directions
        logits = teacher_logits(bottleneck, directions, temperature)  # [R, K]
        potentials = sinkhorn_potentials(logits, num_iterations=num_iterations)
        return Targets(bottleneck, directions, potentials, temperature)

    def forward(self, bottleneck: Tensor, targets: Targets, pairs: Pairs, *, temperature: float) -> Tensor:
        """Cross-entropy between teacher and student assignments, summed over pairs with their weights.

        With s the student's logits, q a teacher row's assignment and p = softmax(s), a pair costs
        H(q, p) = logsumexp(s) - q . s. Targets that one student row meets are added first and multiplied once.

        Args:
            bottleneck: [R, b], the student's rows of one micro-batch.
            targets: Of the teacher's rows of the same micro-batch.
            pairs: P pairs; their weights hold every normalisation.
            temperature: Student temperature, above 0.

        Returns:
            The loss, a scalar in fp32.
        """
        logits = F.linear(bottleneck, self.directions).float() / temperature  # [R, K]
        with torch.no_grad():
            paired = targets.assignments().index_select(0, pairs.teacher).mul_(pairs.weight[:, None])  # [P, K]
            target = torch.zeros_like(logits).index_add_(0, pairs.student, paired)  # [R, K]
            weight = target.new_zeros(len(logits)).index_add_(0, pairs.student, pairs.weight)  # [R]
        return (weight * torch.logsumexp(logits, dim=1)).sum() - (target * logits).sum()
