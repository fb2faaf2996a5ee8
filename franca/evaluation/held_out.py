"""Training images that are set aside, so that a choice need not look at the validation images."""

from __future__ import annotations

import torch
from torch import Tensor

from franca.errors import DataError


def held_out_rows(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """[n] bool: ``fraction`` of the images of every class, at least one where a class has two or more.

    Args:
        labels: [n], int64, of the training images.
        fraction: In (0, 1).
        seed: Which of them.

    Raises:
        DataError: no class has two images.
    """
    labels = labels.cpu()
    check_can_hold_out(int(labels.bincount().max()))
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero()[:, 0]
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        held_out[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return held_out


def check_can_hold_out(largest_class: int) -> None:
    """Raises a DataError where no class has two images.

    Args:
        largest_class: Training images of the class that has most.
    """
    if largest_class < 2:
        raise DataError(
            "train= has one image per class; at least one class needs two, so that one can be held out. Give more, or "
            "take fewshot, which holds out none"
        )
