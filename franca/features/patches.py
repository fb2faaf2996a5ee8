"""Patch embeddings of many images, with their masks: read in batches, so that they may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.errors import DataError


@dataclass(frozen=True)
class PatchBatch:
    """Patch embeddings of consecutive images."""

    patches: Tensor  # [B, h, w, D] float32
    masks: Tensor | None  # [B, H, W] uint8 at the size of the model's input, 255 = ignore
    first: int  # index of the first image in its table


@dataclass(frozen=True)
class PatchTable:
    """Patch embeddings of the last block of n images, in the order of their source."""

    patches: Tensor  # [n, h, w, D], mostly float16 and mapped from a file: use `batches`
    masks: Tensor | None  # [n, H, W] uint8
    keys: tuple[str, ...]
    class_names: tuple[str, ...] | None = None  # of the masks' values

    @classmethod
    def of(
        cls,
        patches: Tensor,
        masks: Tensor | None = None,
        keys: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> PatchTable:
        """A table of tensors at hand: patches [n, h, w, D], masks [n, H, W] uint8."""
        names = tuple(map(str, range(len(patches)))) if keys is None else tuple(keys)
        return cls(patches, masks, names, None if class_names is None else tuple(class_names))

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w): rows and columns of patches."""
        return self.patches.shape[1], self.patches.shape[2]

    @property
    def width(self) -> int:
        """D, the width of an embedding."""
        return self.patches.shape[-1]

    def batches(self, num_images: int) -> Iterator[PatchBatch]:
        """Every image once, in order, so many at a time.

        Raises:
            DataError: A feature is NaN or infinite.
        """
        for first in range(0, len(self), num_images):
            yield self.batch(first, first + num_images)

    def batch(self, first: int, end: int) -> PatchBatch:
        """The images from ``first`` to before ``end``.

        Raises:
            DataError: A feature is NaN or infinite.
        """
        patches = self.patches[first:end].float()
        if not torch.isfinite(patches).all():
            broken = int((~torch.isfinite(patches).flatten(1).all(1)).nonzero()[0])
            raise DataError(
                f"patch features of {self.keys[first + broken]} are NaN or infinite: the model is broken, or its "
                "numbers outgrow half precision"
            )
        return PatchBatch(patches, None if self.masks is None else self.masks[first:end], first)
