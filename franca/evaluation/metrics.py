"""Numbers that several protocols report."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_HALVINGS = 6


def hits(scores: Tensor, labels: Tensor, *, at: int = 1) -> int:
    """Images whose class is among the ``at`` that score highest; a class that scores nothing never counts.

    Args:
        scores: [B, C], of any scale; ``-inf`` is no score.
        labels: [B], int64.
    """
    top = scores.topk(at, dim=1)  # [B, at]
    right = (top.indices == labels[:, None]) & (top.values > -torch.inf)
    return int(right.sum())


def top_counts(num_classes: int) -> tuple[int, ...]:
    """Which top-n accuracies say something: 1, and 5 where there are more than five classes."""
    return (1, 5) if num_classes > 5 else (1,)


def prefix_widths(width: int) -> list[int]:
    """The Matryoshka prefixes d, d/2, ... d/64 of a width d, as far as they are whole numbers."""
    return [width >> halvings for halvings in range(MAX_HALVINGS + 1) if width % (1 << halvings) == 0]
