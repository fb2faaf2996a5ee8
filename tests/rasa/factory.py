"""Patch features with position planted in a known subspace."""

from __future__ import annotations

import torch
from torch import Tensor

from franca.features.patches import PatchTable
from franca.rasa.targets import positions


def planted(
    num_images: int = 120, grid: tuple[int, int] = (6, 8), width: int = 32, amplitude: float = 1.5, seed: int = 0
) -> tuple[PatchTable, Tensor]:
    """A table whose features are mixed noise plus row and column along two orthonormal directions [2, D]."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    mix, directions = draw(width, width) / width**0.5, torch.linalg.qr(draw(width, 2)).Q.T
    content = (draw(num_images, 1, width) + draw(num_images, grid[0] * grid[1], width)) @ mix + 0.5
    position = (positions(grid).float() - 0.5) @ directions[2 - sum(side > 1 for side in grid) :]
    return PatchTable.of((content + amplitude * position).unflatten(1, grid)), directions
