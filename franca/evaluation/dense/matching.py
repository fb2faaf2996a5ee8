"""Which class each cluster stands for."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def many_to_one(overlap: Tensor) -> Tensor:
    """Every cluster stands for the class that most of its pixels have; a class may get several clusters, or none.

    Args:
        overlap: [K, C], pixels of each cluster by class.

    Returns:
        [K] int64, a class; a cluster without pixels stands for none, which is C.
    """
    classes = overlap.argmax(1)
    return torch.where(overlap.sum(1) > 0, classes, overlap.shape[1])


def one_to_one(overlap: Tensor) -> Tensor:
    """The matching of clusters and classes with the largest sum of intersections over unions.

    With more clusters than classes the others stand for none, so that their pixels are wrong.

    Args:
        overlap: [K, C], pixels of each cluster by class.

    Returns:
        [K] int64, a class, or C for none.
    """
    counts = overlap.double()
    union = counts.sum(1, keepdim=True) + counts.sum(0) - counts
    clusters, classes = linear_sum_assignment((counts / union.clamp(min=1)).numpy(), maximize=True)
    matched = torch.full((len(overlap),), overlap.shape[1])
    matched[torch.from_numpy(clusters)] = torch.from_numpy(classes)
    return matched


def confusion_of(overlap: Tensor, classes: Tensor) -> Tensor:
    """The confusion matrix when each cluster predicts its class.

    Args:
        overlap: [K, C], pixels of each cluster by class.
        classes: [K], from 0 to C.

    Returns:
        [C, C + 1] int64: true class by predicted class, the last for none.
    """
    num_classes = overlap.shape[1]
    confusion = torch.zeros(num_classes + 1, num_classes, dtype=torch.int64)
    return confusion.index_add_(0, classes, overlap.long()).T
