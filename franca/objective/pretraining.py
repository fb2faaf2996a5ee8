"""The pretraining objective: DINO, iBOT and KoLeo put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from franca.batch import Batch
from franca.models.vision_transformer import Features
from franca.objective.clustering import Clustering
from franca.objective.koleo import koleo_loss
from franca.objective.network import Network
from franca.objective.targets import Targets

MicroBatchTargets = dict[str, list[Targets]]
"""Per clustering loss, by name, the targets of every level."""


@dataclass
class Losses:
    """The weighted total and every unweighted part, by name; parts add up over micro-batches."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def zero(cls, device: torch.device) -> Losses:
        """Nothing yet."""
        return cls(torch.zeros((), device=device))

    def detach(self) -> Losses:
        """The same values without their graph."""
        return Losses(self.total.detach(), {name: part.detach() for name, part in self.parts.items()})

    def __add__(self, other: Losses) -> Losses:
        parts = {name: part + self.parts.get(name, 0.0) for name, part in other.parts.items()}
        return Losses(self.total + other.total, self.parts | parts)


@dataclass(frozen=True)
class KoLeo:
    """KoLeo on the class tokens of both global views, in groups of consecutive images of one view."""

    weight: float
    group_size: int

    def loss(self, crops: Features, batch: Batch) -> Tensor:
        """Sum over the two views of the mean over the global batch's images."""
        groups = crops.cls.unflatten(0, (-1, self.group_size))  # [2*B/n, n, D]
        return koleo_loss(groups).sum() * self.group_size / batch.global_batch


class PretrainingObjective:
    """What the student is asked: a sum of terms; a term with weight 0 is not in it.

    Args:
        clusterings: DINO and iBOT, or one of them.
        koleo: The regulariser, or None.
        use_masks: Whether the student sees masked global crops; it does when there is an iBOT term.
        precision: Dtype of the networks' matrix products, None for fp32. The teacher's logits, Sinkhorn-Knopp, softmax
            and sums are fp32 always.
    """

    def __init__(
        self,
        clusterings: Sequence[Clustering],
        koleo: KoLeo | None,
        *,
        use_masks: bool,
        precision: torch.dtype | None = None,
    ) -> None:
        self.clusterings = tuple(clusterings)
        self.koleo = koleo
        self.use_masks = use_masks
        self.precision = precision

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self.precision, enabled=self.precision is not None)

    @torch.no_grad()
    def targets(
        self,
        teacher: Network,
        micro_batches: Sequence[Batch],
        temperature: float,
        *,
        show: Callable[[Features], None] | None = None,
    ) -> list[MicroBatchTargets]:
        """The teacher's assignments for a global batch; Sinkhorn-Knopp runs over all micro-batches at once.

        Args:
            teacher: Looks at the global crops.
            micro_batches: This rank's share of the global batch.
            temperature: The teacher's.
            show: Shown what the teacher's backbone sees in each micro-batch.
        """
        bottlenecks: dict[str, list[list[Tensor]]] = {term.name: [] for term in self.clusterings}
        with self._autocast(micro_batches[0].global_crops.device):
            for batch in micro_batches:
                (crops,) = teacher.backbone.forward_crops([batch.global_crops])
                if show is not None:
                    show(crops)
                for term in self.clusterings:
                    bottlenecks[term.name].append(teacher.heads[term.name](term.tokens.teacher(crops, batch)))
            assigned = {
                term.name: term.assign(teacher.heads[term.name], bottlenecks[term.name], temperature=temperature)
                for term in self.clusterings
            }
        return [{name: parts[i] for name, parts in assigned.items()} for i in range(len(micro_batches))]

    def __call__(self, student: Network, batch: Batch, targets: MicroBatchTargets) -> Losses:
        """The losses of one micro-batch; those of a global batch are their sum."""
        with self._autocast(batch.global_crops.device):
            crops = self._student_crops(student, batch)
            losses = Losses.zero(batch.global_crops.device)
            for term in self.clusterings:
                parts = term.losses(student.heads[term.name], crops, batch, targets[term.name])
                losses += Losses(term.weight * torch.stack(list(parts.values())).sum(), parts)
            if self.koleo is not None:
                koleo = self.koleo.loss(crops[0], batch)
                losses += Losses(self.koleo.weight * koleo, {"koleo": koleo})
        return losses

    def _student_crops(self, student: Network, batch: Batch) -> list[Features]:
        """Features of the global crops and, where there are any, the local crops."""
        masks = batch.masks if self.use_masks else None
        if len(batch.local_crops) == 0:
            return student.backbone.forward_crops([batch.global_crops], [masks], stochastic_depth_seed=batch.seed)
        return student.backbone.forward_crops(
            [batch.global_crops, batch.local_crops], [masks, None], stochastic_depth_seed=batch.seed
        )
