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

    def maps(self) -> Tensor:
        """The patches as maps [B, D, h, w]."""
        by_place: Tensor = self.patches.unflatten(1, self.grid)  # [B, h, w, D]
        return by_place.permute(0, 3, 1, 2).contiguous()
