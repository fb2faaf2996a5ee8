"""What a backbone says about a batch of images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Embeddings after the last norm."""

    cls: Tensor  # [B, D], one per image
    registers: Tensor  # [B, R, D], scratch space of the network; R may be 0
    patches: Tensor  # [B, N, D], one per patch, row by row
    grid: tuple[int, int]  # rows and columns of patches; their product is N
