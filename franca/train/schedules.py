"""Schedules: each a pure function of the step, so that a resumed run needs no schedule state."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """Everything that changes from step to step."""

    learning_rate: float
    weight_decay: float
    teacher_momentum: float
    teacher_temperature: float
    prototypes_frozen: bool
    backbone_frozen: bool = False


def cosine(step: int, *, start: float, end: float, num_steps: int) -> float:
    """Half a cosine from ``start`` at step 0 to ``end`` at step ``num_steps - 1``, and ``end`` ever after."""
    progress = min(step / max(1, num_steps - 1), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def linear(step: int, *, start: float, end: float, num_steps: int) -> float:
    """A line from ``start`` at step 0 to ``end`` at step ``num_steps``, and ``end`` ever after."""
    return end if step >= num_steps else start + (end - start) * step / num_steps


def warmup_cosine(step: int, *, peak: float, end: float, warmup_steps: int, num_steps: int) -> float:
    """A line from 0 to ``peak`` over ``warmup_steps``, then half a cosine to ``end`` at the last step."""
    if step < warmup_steps:
        return linear(step, start=0.0, end=peak, num_steps=warmup_steps)
    return cosine(step - warmup_steps, start=peak, end=end, num_steps=num_steps - warmup_steps)


def scaled_learning_rate(learning_rate: float, *, global_batch: int, reference_batch: int, rule: str) -> float:
    """The peak learning rate at this batch: proportional to its square root or to itself, or left alone."""
    ratio = global_batch / reference_batch
    return learning_rate * {"sqrt": math.sqrt(ratio), "linear": ratio, "none": 1.0}[rule]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The rates of every step.

    Source: Franca 1.5 and 2.1 (DINOv2's schedules): learning rate warmed up then cosine, weight decay and teacher
    momentum cosine, teacher temperature linear, prototypes frozen at first. New is the backbone frozen at first, while
    new heads on a backbone that has learned before find their place.
    """

    num_steps: int
    learning_rate: float
    min_learning_rate: float
    warmup_steps: int
    weight_decay: float
    weight_decay_end: float
    teacher_momentum: float
    teacher_momentum_end: float
    teacher_temperature: float
    teacher_temperature_end: float
    teacher_temperature_warmup_steps: int
    freeze_prototypes_steps: int
    freeze_backbone_steps: int = 0

    def __call__(self, step: int) -> Rates:
        """The rates of step ``step``, counted from 0."""
        return Rates(
            learning_rate=warmup_cosine(
                step,
                peak=self.learning_rate,
                end=self.min_learning_rate,
                warmup_steps=self.warmup_steps,
                num_steps=self.num_steps,
            ),
            weight_decay=cosine(step, start=self.weight_decay, end=self.weight_decay_end, num_steps=self.num_steps),
            teacher_momentum=cosine(
                step, start=self.teacher_momentum, end=self.teacher_momentum_end, num_steps=self.num_steps
            ),
            teacher_temperature=linear(
                step,
                start=self.teacher_temperature,
                end=self.teacher_temperature_end,
                num_steps=self.teacher_temperature_warmup_steps,
            ),
            prototypes_frozen=step < self.freeze_prototypes_steps,
            backbone_frozen=step < self.freeze_backbone_steps,
        )
