"""How an image is brought to the size and scale that a backbone reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

RESIZE_OVER_CROP = 256 / 224


def bring_to(image: Tensor, size_px: tuple[int, int], fit: str = "crop", *, is_mask: bool = False) -> Tensor:
    """An image at the size a backbone reads, as bytes: a quarter of what floats would take on the way.

    Args:
        image: [C, H, W], uint8, any H and W.
        size_px: Height and width of the result.
        fit: ``crop`` cuts the centre out of the image, after it was scaled to cover 256/224 of the size; ``stretch``
            scales height and width each for itself.
        is_mask: Takes the nearest pixel instead of mixing several.

    Returns:
        [C, *size_px], uint8.

    Source: section 5 of the paper's protocols (resize 256, crop 224), kept in proportion for other sizes.
    """
    mode = InterpolationMode.NEAREST_EXACT if is_mask else InterpolationMode.BICUBIC
    if fit == "stretch":
        stretched: Tensor = F.resize(image, list(size_px), interpolation=mode, antialias=not is_mask)
        return stretched
    covering = _covering(image.shape[-2:], size_px)
    resized: Tensor = F.resize(image, covering, interpolation=mode, antialias=not is_mask)
    cropped: Tensor = F.center_crop(resized, list(size_px))
    return cropped


def _covering(shape: Sequence[int], size_px: tuple[int, int]) -> list[int]:
    """What to resize an image to: a short side for a square, both sides otherwise."""
    if size_px[0] == size_px[1]:
        return [round(size_px[0] * RESIZE_OVER_CROP)]
    scale = RESIZE_OVER_CROP * max(wanted / side for wanted, side in zip(size_px, shape, strict=True))
    return [round(side * scale) for side in shape]


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
