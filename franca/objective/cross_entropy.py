"""Cross-entropy between assignments that never exist, and its gradient, as sums over chunks of prototypes.

A student row's softmax is p_ik = exp(s_ik - lse_i) with s_ik = b_i . d_k / tau, a teacher row's assignment
q_tk = exp(t_tk + v_k - z_t). A pair (i, t) costs H(q_t, p_i) = lse_i - sum_k q_tk s_ik, so that with A the matrix of
the pairs' weights and w = A 1

    L = sum_i w_i lse_i - sum_tk q_tk (A^T b)_t . d_k / tau
      = sum_i w_i lse_i - sum_t (A^T b)_t . E_q[d]_t / tau             with E_q[d]_t = sum_k q_tk d_k.

The derivative of lse_i by s_ik is p_ik, hence, with E_p[d] likewise,

    dL/db_i = (w_i E_p[d]_i - (A E_q[d])_i) / tau
    dL/dd_k = (sum_i p_ik w_i b_i - sum_t q_tk (A^T b)_t) / tau.

What the student expects less what the teacher expects: student and teacher rows are summed apart and never meet in a
tile, and a local crop, which learns from two teacher rows, costs no more than any other. One pass over the prototypes
finds lse, a second one the four sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from franca.objective.logits import Logits, unit_backward
from franca.objective.strips import Strip, log_normalizers
from franca.objective.targets import Pairs, Targets
from franca.objective.tile_math import TileMath
from franca.objective.tiles import Cut, runs


class CrossEntropy(torch.autograd.Function):
    """L as a function of bottleneck and weight. Gradients asked for are found along with it and wait for backward."""

    @staticmethod
    def forward(
        ctx: Any,
        bottleneck: Tensor,
        weight: Tensor,
        student: Logits,
        targets: Targets,
        pairs: Pairs,
        strips: Iterable[Strip],
        cut: Cut,
        tile_math: TileMath,
    ) -> Tensor:
        lse = log_normalizers(strips, len(bottleneck), like=bottleneck)
        ctx.terms = student, lse, targets, pairs, cut, tile_math
        ctx.save_for_backward(bottleneck, weight)
        loss, *ctx.gradients = loss_and_gradients(*ctx.terms, needed=ctx.needs_input_grad[:2])
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:  # given away by an earlier backward that retained the graph
            rows, weight = ctx.saved_tensors  # autograd refuses them if they have changed since
            student, *others = ctx.terms
            student = replace(student, rows=rows, weight=weight)
            _, *gradients = loss_and_gradients(student, *others, needed=ctx.needs_input_grad[:2])
        # Scaled in place and let go, so that the weight's gradient is this very buffer and no second one.
        of_bottleneck, of_weight = (None if gradient is None else gradient.mul_(upstream) for gradient in gradients)
        return of_bottleneck, of_weight, None, None, None, None, None, None


@dataclass(frozen=True)
class SoftRows:
    """Rows P_ik = exp(s_ik + v_k - z_i), with a vector y_i each; what is summed over them grows chunk by chunk."""

    logits: Logits
    normalizers: Tensor  # [R], z
    vectors: Tensor  # [R, b], y
    expected: Tensor | None  # [R, b], sum_k P_ik d_k over the prototypes seen so far; None if it is not needed
    potentials: Tensor | None  # [K], v

    def see(
        self,
        columns: slice,
        directions: Tensor,
        seen: Tensor | None,
        rows_per_tile: int,
        dtype: torch.dtype,
        tile_math: TileMath,
    ) -> None:
        """Add some prototypes, whose d are given, to ``expected``, and their sum_i P_ik y_i to ``seen`` [c, b]."""
        if self.expected is None and seen is None:
            return
        own = self.logits.directions(columns)  # the teacher's rows have logits by the teacher's prototypes
        v = None if self.potentials is None else self.potentials[columns]
        factor = directions.to(dtype)
        for rows in runs(len(self.vectors), rows_per_tile):
            tile = self.logits.tile(rows, own)  # [r, c]
            soft = tile_math.soften(tile, v, self.normalizers[rows], dtype)
            with torch.autocast(soft.device.type, enabled=False):
                if self.expected is not None:
                    self.expected[rows] += soft @ factor
                if seen is not None:
                    seen += soft.T @ self.vectors[rows].to(dtype)


def loss_and_gradients(
    student: Logits,
    lse: Tensor,
    targets: Targets,
    pairs: Pairs,
    cut: Cut,
    tile_math: TileMath,
    *,
    needed: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """L, dL/db [R, b] and dL/dweight [K, b]; only tiles of p and q are ever held.

    Args:
        student: Logits of R rows, with the dtype of products.
        lse: Log-normaliser of every student row, [R], in the dtype of sums.
        targets: Of R' teacher rows.
        pairs: Their weights hold every normalisation.
        cut: How large a tile is.
        tile_math: What is done to one.
        needed: Which of the two gradients are found; None stands for the others.
    """
    b, tau = student.rows.to(lse.dtype), student.temperature
    needs_bottleneck, needs_weight = needed
    weight = pairs.per_student(len(b), lse.dtype)  # [R], w
    unmet = pairs.to_teacher(b, len(targets.bottleneck)).neg_()  # [R', b], -A^T b: what the teacher expects counts off
    w_p = SoftRows(student, lse - weight.log(), b, torch.zeros_like(b) if needs_bottleneck else None, None)
    q_expected = torch.zeros_like(unmet)  # the loss itself needs it
    q = SoftRows(targets.logits, targets.normalizers, unmet, q_expected, targets.potentials)
    of_weight = torch.empty_like(student.weight) if needs_weight else None
    for columns in runs(len(student.weight), cut.columns):
        directions = student.directions(columns)
        of_directions = None if of_weight is None else torch.zeros_like(directions)
        for soft_rows in (w_p, q):
            soft_rows.see(columns, directions, of_directions, cut.rows, student.dtype, tile_math)
        if of_weight is not None and of_directions is not None:
            of_weight[columns] = unit_backward(student.weight[columns], of_directions.div_(tau))
    loss = (weight * lse).sum() + (unmet * q_expected).sum() / tau
    if w_p.expected is None:
        return loss, None, of_weight
    of_bottleneck = w_p.expected.sub_(pairs.to_student(q_expected, len(b))).div_(tau)
    return loss, of_bottleneck.to(student.rows.dtype), of_weight
