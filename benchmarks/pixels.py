"""Backbones that have learned nothing: what any trained one has to beat.

    franca eval segmentation benchmarks.pixels:colour_and_place train=DIR:train val=DIR:val

Read as `franca.features.model.BlocksReader` reads a vision transformer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

PATCH_PX = 8


class Pixels(nn.Module):
    """The pixels of each patch, and where it is: row and column in [0, 1]. The class embedding is the mean patch."""

    def __init__(self, patch_size_px: int = PATCH_PX, *, place: bool = True) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity()])
        self.patch_size_px = patch_size_px
        self.place = place

    def get_intermediate_layers(self, images: Tensor, n: int = 1, return_class_token: bool = False) -> Any:
        """Patches [B, N, 3 * patch * patch (+ 2)] of images [B, 3, H, W], once."""
        pixels = pixel_unshuffle(images, self.patch_size_px)  # [B, 3 p p, h, w]
        rows, columns = pixels.shape[-2:]
        if self.place:
            place = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij")
            place_map = torch.stack(place).to(pixels).expand(len(pixels), -1, -1, -1)  # [B, 2, h, w]
            pixels = torch.cat([pixels, place_map], dim=1)
        patches = pixels.flatten(2).transpose(1, 2)
        return ((patches, patches.mean(1)),) if return_class_token else (patches,)


def colour_and_place() -> Pixels:
    """Pixels with their place."""
    return Pixels()


def colour() -> Pixels:
    """Pixels alone."""
    return Pixels(place=False)
