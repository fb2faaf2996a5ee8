"""The patches of a set of images: in random batches for training, or all of them in a pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.distributed.together import share_of
from franca.features.patches import PatchTable

BATCH_IMAGES = 16  # of a pass over all: small enough to stay in the cache of a CPU on the way


@dataclass(frozen=True)
class ImagePatches:
    """Some images of a table. On several ranks, batches are this rank's share of those of all.

    Args:
        table: all images.
        images: [n] int64, those that count.
        device: where batches go.
    """

    table: PatchTable
    images: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.images)

    def all(self) -> Iterator[Tensor]:
        """Every image once, as [B, N, D] float32."""
        for batch in self.images.split(BATCH_IMAGES):
            yield self._read(batch)

    def shuffled(self, batch_images: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Every image once, in random order; the last batch may be smaller, and this rank's share empty."""
        order = self.images[torch.randperm(len(self.images), generator=generator)]
        for batch in order.split(batch_images):
            yield self._read(batch)

    def _read(self, images: Tensor) -> Tensor:
        mine = torch.tensor(share_of(images.tolist()), dtype=torch.int64)
        return self.table.patches[mine].to(self.device).float().flatten(1, 2)


def split_images(
    table: PatchTable, held_out: float, seed: int, device: torch.device
) -> tuple[ImagePatches, ImagePatches]:
    """Training images, and a share of held-out ones; one of each at least, of a table of two or more."""
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))
    num_held_out = min(max(round(held_out * len(table)), 1), len(table) - 1)
    kept, apart = order[num_held_out:].sort().values, order[:num_held_out].sort().values
    return ImagePatches(table, kept, device), ImagePatches(table, apart, device)
