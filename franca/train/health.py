"""How a run is doing, without labels: does the student predict, does the teacher tell images apart, do weights move."""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import torch

from franca.distributed.reduce import sum_over_ranks
from franca.objective.clustering import Clustering
from franca.objective.feature_statistics import FeatureSums
from franca.objective.pretraining import MicroBatchTargets, PretrainingObjective
from franca.objective.target_statistics import TargetSums
from franca.train.loop import StepEvent
from franca.train.parallel import release_targets
from franca.train.student_teacher import StudentTeacher
from franca.train.update_ratio import update_ratios


class MeasureHealth:
    """Lets the teacher look at a step's images once more, after the step, and tells what it makes of them.

    The step itself knows nothing of it, and nothing that it computes is kept. All numbers are of the global batch,
    whatever the ranks and micro-batches.

    Args:
        networks: Student and teacher.
        objective: As the step has it.
        optimizer: Over the student.
        every_steps: How often, or None for never; steps that are not finite are left out.
        log_every_steps: Where lines of metrics are written, the first of which after ``every_steps`` steps is taken.
    """

    def __init__(
        self,
        networks: StudentTeacher,
        objective: PretrainingObjective,
        optimizer: torch.optim.Optimizer,
        *,
        every_steps: int | None,
        log_every_steps: int,
    ) -> None:
        self.networks = networks
        self.objective = objective
        self.optimizer = optimizer
        self.every_steps = every_steps
        self.log_every_steps = log_every_steps

    def __call__(self, event: StepEvent) -> dict[str, float]:
        """Numbers by name, or none where none are due; every rank must ask."""
        if not event.result.applied or not self._is_due(event):
            return {}
        features: list[FeatureSums] = []
        targets = self.objective.targets(
            self.networks.teacher,
            event.micro_batches,
            event.rates.teacher_temperature,
            show=lambda crops: features.append(FeatureSums.of(crops.cls)),
        )
        found: dict[str, float] = {}
        for term in self.objective.clusterings:
            found |= self._of_levels(term, targets, event)
        release_targets(self.networks.teacher)
        return found | _of_features(features) | self._of_weights()

    def _is_due(self, event: StepEvent) -> bool:
        """A function of the step alone, so that a run that was stopped measures where it would have."""
        if self.every_steps is None:
            return False
        now, before = event.step, event.step - self.log_every_steps
        is_line = event.step % self.log_every_steps == 0
        return event.step == event.num_steps or (is_line and now // self.every_steps > before // self.every_steps)

    def _of_levels(self, term: Clustering, targets: list[MicroBatchTargets], event: StepEvent) -> dict[str, float]:
        """Loss and targets of every level of a clustering loss."""
        head = self.networks.teacher.heads[term.name]
        weight = sum_over_ranks(torch.stack([term.total_weight(batch) for batch in event.micro_batches]).sum())
        found: dict[str, float] = {}
        for level, name in enumerate(term.level_names(head)):
            sums = reduce(add, (TargetSums.of(part[term.name][level]) for part in targets)).over_ranks()
            uniform = weight * math.log(len(sums.mass))  # the loss of a student that gives all prototypes the same
            found[f"loss_over_ln_k/{name}"] = float(event.result.losses.parts[name] / uniform)
            found[f"target_entropy/{name}"] = float(sums.mean_entropy)
            found[f"prototypes_used/{name}"] = float(sums.used)
            found[f"target_perplexity/{name}"] = float(sums.perplexity)
        return found

    def _of_weights(self) -> dict[str, float]:
        ratios = update_ratios(self.networks.student, self.optimizer)
        return {f"update_ratio/{name}": float(ratio) for name, ratio in ratios.items()}


def _of_features(features: list[FeatureSums]) -> dict[str, float]:
    sums = reduce(add, features).over_ranks()
    return {"feature_spread": float(sums.spread), "effective_rank": float(sums.effective_rank)}
