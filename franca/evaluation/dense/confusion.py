"""Pixels by their true and their predicted class, and the scores that follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from franca.data.segmentation.masks import IGNORE
from franca.errors import DataError


@dataclass(frozen=True)
class SegmentationScores:
    """What a confusion matrix says."""

    miou: float  # over the classes that occur in masks or predictions
    pixel_accuracy: float
    iou: Tensor  # [C] float64; NaN for a class that occurs in neither


def confusion_matrix(predictions: Tensor, masks: Tensor, num_classes: int) -> Tensor:
    """Counts of pixels by true class (row) and predicted class (column); ignored pixels count nowhere.

    Args:
        predictions: Any shape, integers from 0 to C - 1, and C for none of the classes.
        masks: The same shape, integers; 255 = ignore.

    Returns:
        [C, C + 1] int64, on the CPU.
    """
    check_classes(masks, num_classes)
    kept = masks != IGNORE
    pairs = masks[kept].long() * (num_classes + 1) + predictions[kept].long()
    counts = torch.bincount(pairs, minlength=num_classes * (num_classes + 1))
    return counts.view(num_classes, num_classes + 1).cpu()


def scores(confusion: Tensor) -> SegmentationScores:
    """Intersection over union and accuracy.

    The mean is over classes with a pixel in masks or predictions, so that a class that is only predicted counts as 0;
    this is what mmsegmentation and torchmetrics do.

    Args:
        confusion: [C, C + 1], true class by predicted class; the last column is no class.
    """
    counts = confusion.double()
    hits = counts.diagonal()  # [C]
    union = counts.sum(1) + counts[:, : len(counts)].sum(0) - hits
    iou = hits / union  # 0 / 0 is NaN: the class does not occur
    accuracy = hits.sum() / counts.sum().clamp(min=1)
    return SegmentationScores(float(iou.nanmean().nan_to_num()), float(accuracy), iou)


def check_classes(masks: Tensor, num_classes: int) -> None:
    """Raises a DataError where a mask holds a value that is neither a class nor ignored."""
    wrong = (masks >= num_classes) & (masks != IGNORE)
    if wrong.any():
        raise DataError(
            f"a mask holds {int(masks[wrong][0])}, outside the classes 0 to {num_classes - 1} ({IGNORE} = ignore)"
        )
