"""What passes between teacher and student: soft assignments that are never a [rows, K] matrix, and who meets whom."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from franca.objective.logits import Logits, sum_dtype


@dataclass(frozen=True)
class Targets:
    """Soft assignments q of teacher rows: q_ik = exp(t_ik + v_k - z_i), with t the teacher's logits.

    They are opaque to everyone but prototypes: what is needed to compute a part of q, never q itself. ``weight`` is the
    teacher's own memory, not a copy, so targets are good until the teacher moves.
    """

    bottleneck: Tensor  # [R, b]
    weight: Tensor  # [K, b], of any length
    potentials: Tensor  # [K], v
    normalizers: Tensor  # [R], z = logsumexp_k(t + v)
    temperature: float

    @property
    def logits(self) -> Logits:
        """t, in full precision: bf16 products, divided by a cold temperature, would be off by a tenth."""
        return Logits(self.bottleneck, self.weight, self.temperature, sum_dtype(self.bottleneck))

    def split(self, sizes: list[int]) -> list[Targets]:
        """The same targets for consecutive runs of rows, one run a micro-batch."""
        parts = zip(self.bottleneck.split(sizes), self.normalizers.split(sizes), strict=True)
        return [replace(self, bottleneck=rows, normalizers=z) for rows, z in parts]

    def assignments(self) -> Tensor:
        """The assignments themselves, [R, K]; each row sums to one. For small sizes and for tests."""
        return torch.softmax(self.logits.matrix().add_(self.potentials), dim=1)


@dataclass(frozen=True)
class Pairs:
    """Which student row is to predict which teacher row, and what that pair weighs in the loss.

    With A the sparse matrix of the weights, [student rows, teacher rows], a loss over pairs needs only A's three uses
    below.
    """

    student: Tensor  # [P] int64
    teacher: Tensor  # [P] int64
    weight: Tensor  # [P] float32

    def per_student(self, num_rows: int, dtype: torch.dtype) -> Tensor:
        """A 1: the summed weight of every student row, [num_rows]."""
        return self.weight.new_zeros(num_rows, dtype=dtype).index_add_(0, self.student, self.weight.to(dtype))

    def to_teacher(self, rows: Tensor, num_rows: int) -> Tensor:
        """A^T rows: for every teacher row, the weighted sum of the student's rows that it meets."""
        return _weighted_sums(rows, self.student, self.teacher, self.weight, num_rows)

    def to_student(self, rows: Tensor, num_rows: int) -> Tensor:
        """A rows: for every student row, the weighted sum of the teacher's rows that it meets."""
        return _weighted_sums(rows, self.teacher, self.student, self.weight, num_rows)


def _weighted_sums(rows: Tensor, source: Tensor, target: Tensor, weight: Tensor, num_rows: int) -> Tensor:
    weighted = rows.index_select(0, source) * weight.to(rows.dtype)[:, None]  # [P, ...]
    return rows.new_zeros(num_rows, *rows.shape[1:]).index_add_(0, target, weighted)
