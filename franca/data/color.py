"""Changes of colour, each with its own amount per crop, on whole batches of crops at once.

All functions take ``crops`` [n, 3, H, W] in [0, 1] and one amount per crop [n], and return new crops in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

BLUR_TAPS = 9
_JITTER = np.array([0.4, 0.4, 0.2, 0.1])  # largest change of brightness, contrast, saturation, hue
_CHUNK_VALUES = 800_000  # crops are changed a few at a time, so that they stay in the cache of a core


class ColorDraw(IntEnum):
    """Uniform numbers in [0, 1) that decide the colours of one crop."""

    JITTER = 0
    ORDER = 1
    BRIGHTNESS = 2
    CONTRAST = 3
    SATURATION = 4
    HUE = 5
    GRAYSCALE = 6
    BLUR = 7
    SIGMA = 8
    SOLARIZE = 9


@dataclass(frozen=True, kw_only=True)
class ColorRecipe:
    """How often each change happens to a crop, as probabilities, and the range of the blur's sigma in pixels."""

    jitter: float
    grayscale: float
    blur: float
    solarize: float
    sigma_px: tuple[float, float] = (0.1, 2.0)


def recolor(crops: Tensor, draws: NDArray[np.float64], recipe: ColorRecipe) -> None:
    """Change the colours of each crop, in place, as its draws say.

    Args:
        crops: [n, 3, H, W] float32 in [0, 1].
        draws: [n, len(ColorDraw)] in [0, 1).
        recipe: how often each change happens.

    Source: DINO, appendix C, and BYOL, appendix B: amounts of change, order and probabilities.
    """
    size = max(1, _CHUNK_VALUES // crops[0].numel())
    for start in range(0, len(crops), size):
        _recolor_chunk(crops[start : start + size], draws[start : start + size], recipe)


def _recolor_chunk(crops: Tensor, draws: NDArray[np.float64], recipe: ColorRecipe) -> None:
    jittered = draws[:, ColorDraw.JITTER] < recipe.jitter
    factors = (2 * draws[:, ColorDraw.BRIGHTNESS : ColorDraw.HUE + 1] - 1) * _JITTER  # [n, 4]
    orders = _ORDERS[(draws[:, ColorDraw.ORDER] * len(_ORDERS)).astype(np.int64)]  # [n, 4]
    for turn in range(len(_JITTERS)):
        for number, jitter in enumerate(_JITTERS):
            _change(crops, jittered & (orders[:, turn] == number), jitter, factors[:, number])
    low, high = recipe.sigma_px
    sigma = low + draws[:, ColorDraw.SIGMA] * (high - low)
    _change(crops, draws[:, ColorDraw.GRAYSCALE] < recipe.grayscale, grayscale)
    _change(crops, draws[:, ColorDraw.BLUR] < recipe.blur, gaussian_blur, sigma)
    _change(crops, draws[:, ColorDraw.SOLARIZE] < recipe.solarize, solarize)


def _change(
    crops: Tensor, chosen: NDArray[np.bool_], operation: Callable[..., Tensor], *amounts: NDArray[np.float64]
) -> None:
    """Apply an operation to the chosen crops, in place."""
    if chosen.any():
        pixels = crops.numpy()  # the same memory; NumPy moves whole crops several times faster than torch does
        own = (torch.from_numpy(amount[chosen]).float() for amount in amounts)
        pixels[chosen] = operation(torch.from_numpy(pixels[chosen]), *own).numpy()


def adjust_brightness(crops: Tensor, change: Tensor) -> Tensor:
    """Scale all values by ``1 + change``."""
    return (crops * _per_crop(1 + change)).clamp_(0, 1)


def adjust_contrast(crops: Tensor, change: Tensor) -> Tensor:
    """Scale the distance of all values from the crop's mean luma by ``1 + change``."""
    mean = _luma(crops).mean(dim=(2, 3), keepdim=True)  # [n, 1, 1, 1]
    return torch.lerp(mean, crops, _per_crop(1 + change)).clamp_(0, 1)


def adjust_saturation(crops: Tensor, change: Tensor) -> Tensor:
    """Scale the distance of all values from their pixel's luma by ``1 + change``."""
    return torch.lerp(_luma(crops), crops, _per_crop(1 + change)).clamp_(0, 1)


def grayscale(crops: Tensor) -> Tensor:
    """Give all three channels the luma."""
    return _luma(crops).expand_as(crops)


def adjust_hue(crops: Tensor, change: Tensor) -> Tensor:
    """Turn the hue by ``change``, in turns of the colour wheel; value and saturation stay."""
    value, least = crops.amax(1), crops.amin(1)  # [n, H, W]
    chroma = value - least
    red, green, blue = crops.unbind(1)
    redness = (red - least).div_(chroma + 1e-12)
    tilt = (green - blue).div_(chroma + 1e-12)
    # The sixths of a turn from red, towards green (tilt > 0) or blue, without asking which channel is the largest:
    # |tilt| while red is, 2 - redness while red is in the middle (|tilt| is 1), 3 - |tilt| while red is the least.
    sixths = (1 - tilt.abs()).mul_(1 - 2 * redness).add_(2 - redness)
    hue = sixths.copysign_(tilt).div_(6).add_((2 + change)[:, None, None])
    # A channel is full within a sixth of a turn of its own hue, absent from a third on, and linear in between.
    wheel = torch.tensor([0.5, 1 / 6, 5 / 6])[:, None, None]
    distance = (hue[:, None] + wheel).frac_().sub_(0.5).abs_().mul_(6)  # [n, 3, H, W]
    return distance.sub_(2).neg_().clamp_(0, 1).mul_(chroma[:, None]).add_(least[:, None])


def gaussian_blur(crops: Tensor, sigma: Tensor) -> Tensor:
    """Blur square crops by a Gaussian of ``sigma`` pixels over 9 x 9 pixels, reflected at the borders."""
    size = crops.shape[-1]
    taps = torch.arange(BLUR_TAPS) - BLUR_TAPS // 2
    weights = torch.exp(-0.5 * (taps / sigma[:, None]).square())  # [n, taps]
    weights = weights / weights.sum(1, keepdim=True)
    # Both directions are matrix products, which beat a convolution with one kernel per crop at the sizes of crops.
    blur = (weights @ _shifts(size)).view(-1, 1, size, size)
    return blur @ crops @ blur.mT


def solarize(crops: Tensor) -> Tensor:
    """Invert the values from a half on, which leaves the smaller of each value and its inverse."""
    return torch.minimum(crops, 1 - crops)


@lru_cache(maxsize=8)
def _shifts(size: int) -> Tensor:
    """The matrices [taps, size * size] that shift a line of pixels, reflected at its ends, to each tap of a filter."""
    place = torch.arange(size)
    source = (place + torch.arange(BLUR_TAPS)[:, None] - BLUR_TAPS // 2).abs()
    source = torch.where(source < size, source, 2 * (size - 1) - source)
    return one_hot(source, size).float().flatten(1)


def _luma(crops: Tensor) -> Tensor:
    red, green, blue = crops[:, 0:1], crops[:, 1:2], crops[:, 2:3]
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)  # [n, 1, H, W]


def _per_crop(amount: Tensor) -> Tensor:
    return amount[:, None, None, None]


_JITTERS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
_ORDERS = np.array(list(permutations(range(len(_JITTERS)))))  # [24, 4]
