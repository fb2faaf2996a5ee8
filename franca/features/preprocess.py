"""How an image is brought to the size and scale that a backbone reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

RESIZE_OVER_CROP = 256 / 224


def resize_and_crop(image: Tensor, size_px: int) -> Tensor:
    """The centre of the image, ``size_px`` square, after its short side became 256/224 times that.

    Works on bytes, so that workers hand over a quarter of what floats would take.

    Args:
        image: [3, H, W], uint8, any H and W.
        size_px: height and width of the result.

    Returns:
        [3, size_px, size_px], uint8.

    Source: section 5 of the paper's protocols (resize 256, crop 224), kept in proportion for other sizes.
    """
    short_side = round(size_px * RESIZE_OVER_CROP)
    resized: Tensor = F.resize(image, [short_side], interpolation=InterpolationMode.BICUBIC, antialias=True)
    cropped: Tensor = F.center_crop(resized, [size_px, size_px])
    return cropped


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Bytes to the floats a backbone reads: scaled to [0, 1], then ``(x - mean) / std`` per channel.

    Args:
        images: [B, 3, H, W], uint8.

    Returns:
        [B, 3, H, W], float32, on the device of ``images``.
    """
    # One multiply and one add per pixel: x / 255 / std - mean / std.
    scale = 1 / (255 * torch.tensor(std, dtype=torch.float32, device=images.device))
    shift = torch.tensor(mean, dtype=torch.float32, device=images.device) * 255 * scale
    return images.float() * scale[:, None, None] - shift[:, None, None]
