"""iBOT: the student's masked patches predict what the teacher sees there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from franca.batch import Batch
from franca.models.vision_transformer import Features
from franca.objective.prototypes import Pairs


class MaskedPatches:
    """Patch tokens at the masked places of the global crops, exactly those: no padding rows."""

    def teacher(self, crops: Features, batch: Batch) -> Tensor:
        """[M, D]."""
        return crops.patches[batch.masks]

    def student(self, crops: Sequence[Features], batch: Batch) -> Tensor:
        """[M, D]."""
        return crops[0].patches[batch.masks]

    def pairs(self, batch: Batch) -> Pairs:
        """A patch weighs one over the masked patches of its crop; the sum is divided by all 2*B crops.

        Source: Franca 1.5. Unmasked crops count in the division, as in DINOv2.
        """
        masked = batch.masks.sum(dim=1, keepdim=True)  # [2*B, 1]
        weight = (1 / masked).expand_as(batch.masks)[batch.masks] / (2 * batch.global_batch)  # [M]
        row = torch.arange(len(weight), device=weight.device)
        return Pairs(student=row, teacher=row, weight=weight.float())
