"""Where a patch is."""

from __future__ import annotations

import torch
from torch import Tensor

from franca.errors import DataError


def positions(grid: tuple[int, int]) -> Tensor:
    """Row and column of every patch of a grid, each from 0 (first) to 1 (last).

    Args:
        grid: rows and columns.

    Returns:
        [h * w, A] float64, patches row by row; A is 2, or 1 where there is one row or one column only, which tells
        patches nothing.

    Raises:
        DataError: for a single patch, which has no position.

    Source: paper, section 2.3: the normalised row and column.
    """
    if grid == (1, 1):
        raise DataError("Images of a single patch have no position to remove: give larger images (image_size_px).")
    rows, columns = (torch.linspace(0, 1, size, dtype=torch.float64) for size in grid)
    axes = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)  # [h * w, 2]
    return axes[:, [axis for axis, size in enumerate(grid) if size > 1]]
