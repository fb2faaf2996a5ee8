"""A fixed number of patches, drawn evenly from all images of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from franca.data.segmentation.masks import IGNORE
from franca.distributed.together import share_of
from franca.errors import DataError
from franca.evaluation.dense.votes import patch_votes
from franca.features.patches import PatchBatch, PatchTable

BATCH_IMAGES = 16
MIB = 1 << 20
_FLOAT_BYTES = 4
NO_MASKS = "these images have no masks: give DIR:split of a folder with masks, or synthetic"


@dataclass(frozen=True)
class PatchSample:
    """Some patches of a table."""

    patches: Tensor  # [n, D] float32
    votes: Tensor | None  # [n, C] float32: share of each class among the labelled pixels of a patch
    is_whole: bool  # nothing was left out: another seed gives the same


def draw_patches(table: PatchTable, budget: int, *, seed: int, num_classes: int | None = None) -> PatchSample:
    """Up to ``budget`` patches: from each image the same number, up to one, in an order that the seed draws.

    Where the budget is smaller than the number of images, images at equal distances give one patch each.

    Args:
        budget: How many patches at most.
        num_classes: C; also count votes, and draw only patches with a labelled pixel. None draws from all.

    Raises:
        DataError: No patch could be drawn, or votes are asked for of a table without masks.
    """
    num_images, size = len(table), table.grid[0] * table.grid[1]
    ends = np.arange(1, num_images + 1) * min(budget, num_images * size) // num_images
    counts = np.diff(ends, prepend=0)  # patches of each image
    patches, votes, left_out = [], [], 0
    for batch in table.batches(BATCH_IMAGES):
        batch_votes = None if num_classes is None else votes_of(table, batch, num_classes).flatten(1, 2)  # [B, N, C]
        for row, image in enumerate(batch.patches.flatten(1, 2)):  # [N, D]
            index = batch.first + row
            allowed = np.arange(size)
            if batch_votes is not None:
                allowed = np.flatnonzero((batch_votes[row].sum(1) > 0).cpu().numpy())
            order = np.random.default_rng([seed, index]).permutation(allowed)
            chosen = torch.from_numpy(np.sort(order[: counts[index]]))
            left_out += len(order) - len(chosen)
            patches.append(image[chosen])
            if batch_votes is not None:
                kept = batch_votes[row][chosen].float()
                votes.append(kept / kept.sum(1, keepdim=True))
    drawn = torch.cat(patches)
    if not len(drawn):
        raise DataError("no patch has a labelled pixel: all masks are 255 (ignore)")
    return PatchSample(drawn, torch.cat(votes) if num_classes is not None else None, left_out == 0)


def batches_of_this_rank(table: PatchTable) -> Iterator[PatchBatch]:
    """Each image of the table on one of the ranks; all of them on one process."""
    for first in share_of(range(0, len(table), BATCH_IMAGES)):
        yield table.batch(first, first + BATCH_IMAGES)


def num_batches_of_this_rank(table: PatchTable) -> int:
    """How many `batches_of_this_rank` gives."""
    return len(share_of(range(0, len(table), BATCH_IMAGES)))


def budget_of(memory_mib: float, floats_per_patch: int) -> int:
    """How many patches fit into so much memory; at least one."""
    return max(1, int(memory_mib * MIB) // (_FLOAT_BYTES * floats_per_patch))


def votes_of(table: PatchTable, batch: PatchBatch, num_classes: int) -> Tensor:
    """Counts of classes in each patch of a batch, [B, h, w, C] int64.

    Raises:
        DataError: The table has no masks.
    """
    return patch_votes(masks_of(batch), table.grid, num_classes)


def masks_of(batch: PatchBatch) -> Tensor:
    """The masks of a batch, [B, H, W] uint8.

    Raises:
        DataError: It has none.
    """
    if batch.masks is None:
        raise DataError(NO_MASKS)
    return batch.masks


def check_labelled(role: str, table: PatchTable) -> None:
    """Raises a DataError where no pixel of any mask has a class; stops reading at the first that has one."""
    if table.masks is None or not any((masks != IGNORE).any() for masks in table.masks.split(BATCH_IMAGES)):
        raise DataError(f"{role}= has no labelled pixel: all masks are {IGNORE} (ignore). Give masks with classes")


def mask_classes(*tables: PatchTable) -> tuple[str, ...]:
    """The classes that all these tables have in their masks.

    Raises:
        DataError: A table names no classes, or they are not the same.
    """
    names = tables[0].class_names
    if names is None:
        raise DataError(NO_MASKS)
    for other in tables[1:]:
        check_same_classes(names, other.class_names or ())
    return names


def check_same_classes(train: Sequence[str], val: Sequence[str]) -> None:
    """Raises a DataError where the masks of train= and val= have other classes, or in another order."""
    if tuple(train) != tuple(val):
        described = [f"{len(names)} ({', '.join(names[:4])} …)" if names else "none" for names in (train, val)]
        raise DataError(f"classes of masks: train= has {described[0]}, val= has {described[1]}; they must be the same")
