"""iBOT: the student's masked patches predict what the teacher sees there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from franca.batch import Batch
from franca.models.vision_transformer import Features
from franca.objective.targets import Pairs


class MaskedPatches:
    """Patch tokens at the masked places of the global crops, exactly those: no padding rows."""

    def teacher(self, crops: Features, batch: Batch) -> Tensor:
        """[M, D]."""
        return crops.patches.flatten(0, 1).index_select(0, batch.masked_rows)

    def student(self, crops: Sequence[Features], batch: Batch) -> Tensor:
        """[M, D]."""
        return crops[0].patches.flatten(0, 1).index_select(0, batch.masked_rows)

    def pairs(self, batch: Batch) -> Pairs:
        """A patch weighs one over the masked patches of its crop; the sum is divided by all 2*B crops.

        Source: Franca 1.5. Unmasked crops count in the division, as in DINOv2.
        """
        crop = batch.masked_rows // batch.masks.shape[1]  # [M]
        num_masked = batch.masks.sum(dim=1).index_select(0, crop)  # [M]
        row = torch.arange(len(crop), device=crop.device)
        return Pairs(student=row, teacher=row, weight=1 / (num_masked * 2 * batch.global_batch))
