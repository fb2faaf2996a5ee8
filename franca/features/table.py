"""Features of one set of images: what extraction makes and every protocol reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from franca.batch import Skipped


@dataclass(frozen=True)
class Wanted:
    """Which features to keep. What a model does not have is left out of its table."""

    layers: int = 1  # class embeddings of so many last blocks, or of all if it has fewer
    patch_mean: bool = False
    patches: bool = False

    def __or__(self, other: Wanted) -> Wanted:
        """What serves both."""
        return Wanted(
            max(self.layers, other.layers), self.patch_mean or other.patch_mean, self.patches or other.patches
        )


CLASS_EMBEDDING = Wanted()


@dataclass(frozen=True)
class FeatureTable:
    """One row per image that could be read, in the order of the source."""

    cls: Tensor  # [n, L, D] float32: class embeddings of the last L blocks, after the norm, last block last
    patch_mean: Tensor | None  # [n, D] float32: mean patch embedding of the last block; None = not asked for
    labels: Tensor | None  # [n] int64, index into class_names
    keys: tuple[str, ...]
    class_names: tuple[str, ...] | None = None
    patches: Tensor | None = None  # [n, N, D] float32: patch embeddings of the last block, where asked for
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return self.cls.shape[0]

    @property
    def width(self) -> int:
        """D, the width of an embedding."""
        return self.cls.shape[-1]

    @property
    def embedding(self) -> Tensor:
        """[n, D]: the class embedding of the last block."""
        return self.cls[:, -1]

    def num_not_finite(self) -> int:
        """Images with a NaN or an infinity anywhere in their features."""
        finite = torch.isfinite(self.cls).flatten(1).all(1)
        for other in (self.patch_mean, self.patches):
            if other is not None:
                finite &= torch.isfinite(other).flatten(1).all(1)
        return int((~finite).sum())
