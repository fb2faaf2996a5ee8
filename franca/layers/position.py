"""Learned position embeddings, resized to the grid of the images at hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

INTERPOLATIONS = ("size", "offset")
OFFSET = 0.1


def resize_positions(positions: Tensor, stored: tuple[int, int], grid: tuple[int, int], interpolation: str) -> Tensor:
    """Resize position embeddings bicubically, in fp32.

    Args:
        positions: [1, stored rows * stored columns, D].
        stored: rows and columns that the embeddings were learned on.
        grid: rows and columns wanted.
        interpolation: ``size`` resizes to the grid with antialiasing. ``offset`` scales by (rows + 0.1) / stored rows
            without antialiasing, which is what DINOv2's models without registers were trained with.

    Returns:
        [1, rows * columns, D]; the very same tensor where the grid is the stored one.
    """
    if grid == stored:
        return positions
    planes = positions.float().unflatten(1, stored).permute(0, 3, 1, 2)  # [1, D, stored rows, stored columns]
    if interpolation == "size" and torch.compiler.is_compiling() and torch.is_grad_enabled():
        resized = _resize_by_matrices(planes, grid)
    elif interpolation == "size":
        resized = F.interpolate(planes, size=grid, mode="bicubic", antialias=True)
    else:
        scale = ((grid[0] + OFFSET) / stored[0], (grid[1] + OFFSET) / stored[1])
        resized = F.interpolate(planes, scale_factor=scale, mode="bicubic")
    assert tuple(resized.shape[-2:]) == grid
    return resized.flatten(2).transpose(1, 2).to(positions.dtype)


def _resize_by_matrices(planes: Tensor, grid: tuple[int, int]) -> Tensor:
    """The same linear map of rows and of columns: what torch.compile can differentiate for more than one grid."""
    rows, columns = (
        F.interpolate(
            torch.eye(side, device=planes.device)[None, None], size=(wanted, side), mode="bicubic", antialias=True
        )[0, 0]
        for side, wanted in zip(planes.shape[-2:], grid, strict=True)
    )
    with torch.autocast(planes.device.type, enabled=False):
        return rows @ planes @ columns.T
