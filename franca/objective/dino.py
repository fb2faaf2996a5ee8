"""DINO: the class token of every crop predicts that of every global crop but itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from franca.batch import Batch
from franca.models.vision_transformer import Features
from franca.objective.targets import Pairs


class ClassTokens:
    """Class tokens of all crops for the student, of the two global crops for the teacher."""

    def teacher(self, crops: Features, batch: Batch) -> Tensor:
        """[2*B, D]."""
        return crops.cls

    def student(self, crops: Sequence[Features], batch: Batch) -> Tensor:
        """[(2 + V)*B, D], view-major."""
        return torch.cat([features.cls for features in crops])

    def pairs(self, batch: Batch) -> Pairs:
        """Each of the 2 + 2V pairs of views (t, c), c != t, weighs 1/(2 + 2V) and is a mean over the images.

        Source: Franca 1.5: local and global terms together are divided by 18 = 2 + 2*8.
        """
        num_views = 2 + len(batch.local_crops) // batch.num_images
        device = batch.global_crops.device
        views = [(teacher, student) for teacher in range(2) for student in range(num_views) if student != teacher]
        teacher, student = torch.tensor(views, device=device).T  # [2 + 2V] each
        image = torch.arange(batch.num_images, device=device)
        weight = 1 / (len(views) * batch.global_batch)
        return Pairs(
            student=(student[:, None] * batch.num_images + image).flatten(),
            teacher=(teacher[:, None] * batch.num_images + image).flatten(),
            weight=torch.full((len(views) * batch.num_images,), weight, device=device),
        )
