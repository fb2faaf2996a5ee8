"""Which classes the pixels of a patch have."""

from __future__ import annotations

import torch
from torch import Tensor

from franca.data.segmentation.masks import IGNORE
from franca.evaluation.dense.confusion import check_classes


def patch_votes(masks: Tensor, grid: tuple[int, int], num_classes: int) -> Tensor:
    """Counts of each class among the pixels that are nearest to each patch; ignored pixels do not vote.

    The sum over patches of one value each, weighted by these counts, is exactly what comparing the nearest-neighbour
    enlarged map with the mask pixel by pixel gives.

    Args:
        masks: [B, H, W], integers; 255 = ignore. H and W need not be multiples of the grid.
        grid: Rows and columns of patches, h and w.

    Returns:
        [B, h, w, C] int64.
    """
    check_classes(masks, num_classes)
    num_images, (height, width), (rows, columns) = len(masks), masks.shape[1:], grid
    image = torch.arange(num_images, device=masks.device)[:, None, None]
    row = (torch.arange(height, device=masks.device) * rows // height)[:, None]
    column = torch.arange(width, device=masks.device) * columns // width
    patch = (image * rows + row) * columns + column  # [B, H, W]
    kept = masks != IGNORE
    cells = patch[kept] * num_classes + masks[kept].long()
    votes = torch.bincount(cells, minlength=num_images * rows * columns * num_classes)
    return votes.view(num_images, rows, columns, num_classes)


def shrink(masks: Tensor, size_px: int | None) -> Tensor:
    """Masks at another height and width, taking the nearest pixels; None leaves them as they are.

    Args:
        masks: [B, H, W] uint8.
        size_px: Height and width of the result.
    """
    if size_px is None:
        return masks
    resized = torch.nn.functional.interpolate(masks[:, None], size=(size_px, size_px), mode="nearest-exact")
    return resized[:, 0]
