"""One optimisation step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.batch import Batch
from franca.distributed.reduce import sum_over_ranks
from franca.objective.pretraining import Losses, PretrainingObjective
from franca.train.clipping import Clip, Norms
from franca.train.optim import set_rates
from franca.train.parallel import release_targets, sum_gradients_now
from franca.train.schedules import Rates
from franca.train.student_teacher import StudentTeacher


@dataclass(frozen=True)
class StepResult:
    """What a step found, and whether it was applied: a loss or gradient that is not finite is not."""

    losses: Losses
    norms: Norms
    applied: bool


def train_step(
    networks: StudentTeacher,
    objective: PretrainingObjective,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    rates: Rates,
    *,
    clip: Clip,
) -> StepResult:
    """Take one step over a global batch, given as micro-batches.

    The teacher looks at all micro-batches first, so that Sinkhorn-Knopp balances the whole global batch; then the
    student learns from one after the other. The result does not depend on how the batch was cut, nor on how many ranks
    take their share of it.
    """
    set_rates(optimizer, rates)
    targets = objective.targets(networks.teacher, micro_batches, rates.teacher_temperature)
    losses = Losses.zero(micro_batches[0].global_crops.device)
    for index, (batch, target) in enumerate(zip(micro_batches, targets, strict=True), start=1):
        sum_gradients_now(networks.student, index == len(micro_batches))
        part = objective(networks.student, batch, target)
        part.total.backward()
        losses += part.detach()
    release_targets(networks.teacher)
    losses = losses_over_ranks(losses)
    norms = clip(networks.student)
    applied = all_ranks_agree(losses.total.isfinite() & norms.total.isfinite())
    if applied:
        optimizer.step()
        networks.update_teacher(rates.teacher_momentum)
    optimizer.zero_grad(set_to_none=True)
    return StepResult(losses, norms, applied)


def losses_over_ranks(losses: Losses) -> Losses:
    """The losses of the global batch: those of all ranks, added up in one go."""
    values = {"total": losses.total, **losses.parts}
    total, *parts = sum_over_ranks(torch.stack(list(values.values()))).unbind()
    return Losses(total, dict(zip(losses.parts, parts, strict=True)))


def all_ranks_agree(condition: Tensor) -> bool:
    """Whether the condition holds on every rank."""
    return not bool(sum_over_ranks((~condition).int()))
