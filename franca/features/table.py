"""Features of one set of images: what extraction makes and every protocol reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from franca.batch import Skipped
from franca.features.patches import PatchTable


@dataclass(frozen=True)
class Wanted:
    """Which features to keep. What a model does not have is left out of its table."""

    layers: int = 1  # class embeddings of so many last blocks, or of all if it has fewer
    patch_mean: bool = False
    patches: bool = False
    masks: bool = False  # of the images, where their source has them

    def __or__(self, other: Wanted) -> Wanted:
        """What serves both."""
        return Wanted(
            layers=max(self.layers, other.layers),
            patch_mean=self.patch_mean or other.patch_mean,
            patches=self.patches or other.patches,
            masks=self.masks or other.masks,
        )


CLASS_EMBEDDING = Wanted()
ROWS = 4096  # looked at at a time


@dataclass(frozen=True)
class FeatureTable:
    """One row per image that could be read, in the order of the source.

    Tensors of an extraction are mapped from a file: what is not looked at takes no memory.
    """

    cls: Tensor  # [n, L, D] float32: class embeddings of the last L blocks, after the norm, last block last
    patch_mean: Tensor | None  # [n, D] float32: mean patch embedding of the last block; None = not asked for
    labels: Tensor | None  # [n] int64, index into class_names
    keys: tuple[str, ...]
    class_names: tuple[str, ...] | None = None
    patches: PatchTable | None = None  # patch embeddings of the last block, where asked for
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
        """Images with a NaN or an infinity in their class embeddings or mean patch."""
        count = 0
        for rows in torch.arange(len(self)).split(ROWS):  # as a whole the answer takes as much memory as the features
            finite = torch.isfinite(self.cls[rows]).flatten(1).all(1)
            if self.patch_mean is not None:
                finite &= torch.isfinite(self.patch_mean[rows]).all(1)
            count += int((~finite).sum())
        return count
