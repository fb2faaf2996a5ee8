"""Linear segmentation heads, several trained side by side on the same crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch import Tensor, nn

from franca.errors import DataError
from franca.evaluation.dense.pixel_loss import Lattice, pixel_loss
from franca.evaluation.dense.sampling import masks_of
from franca.evaluation.dense.variants import Variant
from franca.features.extract import Progress
from franca.features.patches import PatchBatch, PatchTable


@dataclass(frozen=True)
class Training:
    """How heads are trained."""

    optimizer: str  # adamw or sgd
    learning_rate: float
    weight_decay: float
    steps: int
    images_per_step: int
    pixel_stride: int  # the loss takes every so many rows and columns of pixels
    seed: int


class Head(nn.Module):
    """Batch normalisation and one linear layer on every patch.

    The linear layer commutes with bilinear enlargement, so that logits are enlarged instead of features: the same
    function, for a fraction of the work. Only the batch statistics differ, which here are those of patches.
    """

    def __init__(self, variant: Variant, num_classes: int) -> None:
        super().__init__()
        self.variant = variant
        self.norm = nn.BatchNorm1d(variant.width)
        self.linear = nn.Linear(variant.width, num_classes)
        nn.init.zeros_(self.linear.weight)  # the problem is convex; no draw decides about it
        nn.init.zeros_(self.linear.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """Logits [B, C, h, w] of patches [B, h, w, D]."""
        rows = self.variant(patches).flatten(0, 2)
        logits: Tensor = self.linear(self.norm(rows))
        return logits.view(*patches.shape[:3], -1).permute(0, 3, 1, 2)


def train_heads(
    epochs: Callable[[int], PatchTable],
    kinds: Sequence[Variant],
    num_classes: int,
    training: Training,
    device: torch.device,
    progress: Progress | None = None,
) -> list[Head]:
    """One trained head for each variant; every rank trains the same.

    Args:
        epochs: The crops of an epoch, with masks.
        kinds: What each head reads.
        training: The learning rate falls linearly to 0, and steps end in the middle of an epoch where they do.
        progress: Called after every step.

    Raises:
        DataError: A step would see a single patch.
    """
    heads = nn.ModuleList(Head(kind, num_classes) for kind in kinds).to(device)
    optimizer = _optimizer(heads, training)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / training.steps)
    generator = torch.Generator().manual_seed(training.seed)
    batches = islice(_batches(epochs, training.images_per_step, generator), training.steps)
    for done, batch in enumerate(batches, start=1):
        lattice = Lattice.drawn(training.pixel_stride, generator)
        _step(heads, optimizer, batch.patches.to(device), masks_of(batch).to(device), lattice)
        schedule.step()
        if progress is not None:
            progress(done, training.steps)
    return [head.eval() for head in heads if isinstance(head, Head)]


def _batches(
    epochs: Callable[[int], PatchTable], images_per_step: int, generator: torch.Generator
) -> Iterator[PatchBatch]:
    """Batches of one epoch after the other, without end, each epoch in an order of its own."""
    for epoch in count():
        table = epochs(epoch)
        num_patches = table.grid[0] * table.grid[1]
        if num_patches * min(images_per_step, len(table)) == 1:
            raise DataError(
                "a step sees one patch, and batch normalisation needs two: use larger images (image_size_px), or more "
                "of them (images_per_step)"
            )
        for rows in torch.randperm(len(table), generator=generator).split(images_per_step):
            if num_patches * len(rows) > 1:  # an image of a single patch may be left over at the end
                yield _pick(table, rows)


def _step(
    heads: nn.ModuleList, optimizer: torch.optim.Optimizer, patches: Tensor, masks: Tensor, lattice: Lattice
) -> None:
    optimizer.zero_grad()
    for head in heads:
        pixel_loss(head(patches), masks, lattice).backward()
    optimizer.step()


def _optimizer(heads: nn.ModuleList, training: Training) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(heads.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    return torch.optim.AdamW(heads.parameters(), lr=rate, weight_decay=decay)


def _pick(table: PatchTable, rows: Tensor) -> PatchBatch:
    """Images of a table in any order."""
    images = [table.batch(row, row + 1) for row in rows.tolist()]
    masks = torch.cat([masks_of(image) for image in images])
    return PatchBatch(torch.cat([image.patches for image in images]), masks, images[0].first)
