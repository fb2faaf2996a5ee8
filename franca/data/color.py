"""Changes of colour, each with its own amount per crop, on whole batches of crops at once.

All functions take ``crops`` [n, 3, H, W] in [0, 1] and one amount per crop [n], on any device, and return crops in
[0, 1]. They may use up the memory of the crops they are given: on a CPU the time goes into moving bytes.
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

from franca.data.rows import put_rows, take_rows

BLUR_TAPS = 9
_JITTER = np.array([0.4, 0.4, 0.2, 0.1])  # largest change of brightness, contrast, saturation, hue
_LUMA = (0.2989, 0.587, 0.114)  # of red, green, blue
_BLUR_BLOCK = 56  # rows or columns blurred by one matrix product, by measurement


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


def recolor(crops: Tensor, draws: NDArray[np.float64], recipe: ColorRecipe) -> Tensor:
    """Change the colours of each crop as its draws say.

    It is fastest where crops that share an order of jitters come together.

    Args:
        crops: [n, 3, H, W] float32 in [0, 1]; their memory is used up.
        draws: [n, len(ColorDraw)] in [0, 1).
        recipe: How often each change happens.

    Returns:
        [n, 3, H, W] float32 in [0, 1].

    Source: DINO, appendix C, and BYOL, appendix B: amounts of change, order and probabilities.
    """
    jittered = draws[:, ColorDraw.JITTER] < recipe.jitter
    factors = (2 * draws[:, ColorDraw.BRIGHTNESS : ColorDraw.HUE + 1] - 1) * _JITTER  # [n, 4]
    orders = _ORDERS[jitter_order(draws)]  # [n, 4]
    for turn in range(len(_JITTERS)):
        for number, jitter in enumerate(_JITTERS):
            crops = _change(crops, jittered & (orders[:, turn] == number), jitter, factors[:, number])
    low, high = recipe.sigma_px
    sigma = low + draws[:, ColorDraw.SIGMA] * (high - low)
    crops = _change(crops, draws[:, ColorDraw.GRAYSCALE] < recipe.grayscale, grayscale)
    crops = _change(crops, draws[:, ColorDraw.BLUR] < recipe.blur, gaussian_blur, sigma)
    return _change(crops, draws[:, ColorDraw.SOLARIZE] < recipe.solarize, solarize)


def jitter_order(draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of the orders of the four jitters each crop has: [n, len(ColorDraw)] -> [n] in ``range(24)``."""
    return (draws[:, ColorDraw.ORDER] * len(_ORDERS)).astype(np.int64)


def _change(
    crops: Tensor, chosen: NDArray[np.bool_], operation: Callable[..., Tensor], *amounts: NDArray[np.float64]
) -> Tensor:
    """Apply an operation to the chosen crops."""
    if not chosen.any():
        return crops
    own = (torch.from_numpy(amount[chosen]).float().to(crops.device) for amount in amounts)
    if chosen.all():
        return operation(crops, *own)
    rows = np.flatnonzero(chosen)
    put_rows(crops, rows, operation(take_rows(crops, rows), *own))
    return crops


def adjust_brightness(crops: Tensor, change: Tensor) -> Tensor:
    """Scale all values by ``1 + change``."""
    return crops.mul_(_per_crop(1 + change)).clamp_(0, 1)


def adjust_contrast(crops: Tensor, change: Tensor) -> Tensor:
    """Scale the distance of all values from the crop's mean luma by ``1 + change``."""
    mean = crops.flatten(2).mean(2) @ crops.new_tensor(_LUMA)  # [n]
    return crops.mul_(_per_crop(1 + change)).sub_(_per_crop(mean * change)).clamp_(0, 1)


def adjust_saturation(crops: Tensor, change: Tensor) -> Tensor:
    """Scale the distance of all values from their pixel's luma by ``1 + change``."""
    return torch.lerp(_luma(crops), crops, _per_crop(1 + change)).clamp_(0, 1)


def grayscale(crops: Tensor) -> Tensor:
    """Give all three channels the luma."""
    return _luma(crops).repeat(1, 3, 1, 1)


def adjust_hue(crops: Tensor, change: Tensor) -> Tensor:
    """Turn the hue by ``change``, at most a sixth of the colour wheel; value and saturation stay."""
    red, green, blue = crops.unbind(1)
    value, least = torch.maximum(red, green), torch.minimum(red, green)  # [n, H, W]
    torch.maximum(value, blue, out=value)
    torch.minimum(least, blue, out=least)
    chroma = value - least
    hue = _hue_in_sixths(red, green, blue, value.add_(least), chroma).add_((6 * change)[:, None, None])
    # A channel is full within a sixth of a turn of its own hue, absent from two sixths on, and linear in between. Round
    # the wheel, the distance is 3 - |3 - distance|. The clamp is from 1 to 2, and ``base`` takes the 1 away.
    base = least.sub_(chroma)
    own = hue.new_tensor([0, 2, -2])[:, None, None]
    share = (hue[:, None] - own).abs_().sub_(3).abs_().clamp_(1, 2)  # [n, 3, H, W]
    return share.mul_(chroma[:, None]).add_(base[:, None])


def _hue_in_sixths(red: Tensor, green: Tensor, blue: Tensor, ends: Tensor, chroma: Tensor) -> Tensor:
    """The sixths of a turn from red, towards green (> 0) or blue (< 0), without asking which channel is the largest.

    ``redness`` is 1 where red is the largest channel and -1 where it is the least; ``tilt`` is how far green is above
    blue. The hue is |tilt| while red is the largest, 1.5 - redness / 2 while it is in the middle (|tilt| is 1), and
    3 - |tilt| while it is the least.

    Args:
        ends: The largest channel plus the least.
    """
    per_chroma = (chroma + 1e-12).reciprocal_()
    redness = (2 * red).sub_(ends).mul_(per_chroma)
    tilt = (green - blue).mul_(per_chroma)
    return tilt.abs().sub_(1.5).mul_(redness).add_(1.5).copysign_(tilt)


def gaussian_blur(crops: Tensor, sigma: Tensor) -> Tensor:
    """Blur square crops by a Gaussian of ``sigma`` pixels over 9 x 9 pixels, reflected at the borders."""
    size = crops.shape[-1]
    taps = torch.arange(BLUR_TAPS, device=crops.device) - BLUR_TAPS // 2
    weights = torch.exp(-0.5 * (taps / sigma[:, None]).square())  # [n, taps]
    weights = weights / weights.sum(1, keepdim=True)
    blur = (weights @ _shifts(size).to(crops.device)).view(-1, 1, size, size)
    # Both directions are matrix products, which beat a convolution with one kernel per crop at the sizes of crops.
    # A product for each block of the result leaves out most of the matrix's zeros.
    blurred = torch.empty_like(crops)
    for block, near in _blocks(size):
        torch.matmul(crops[..., near], blur[..., block, near].mT, out=blurred[..., block])
    for block, near in _blocks(size):
        torch.matmul(blur[..., block, near], blurred[..., near, :], out=crops[..., block, :])
    return crops


def _blocks(size: int) -> list[tuple[slice, slice]]:
    """Blocks of a line of pixels, each with the pixels that its blur reads."""
    reach = BLUR_TAPS // 2
    starts = range(0, size, _BLUR_BLOCK)
    return [(slice(i, i + _BLUR_BLOCK), slice(max(0, i - reach), i + _BLUR_BLOCK + reach)) for i in starts]


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
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])  # [n, 1, H, W]


def _per_crop(amount: Tensor) -> Tensor:
    return amount[:, None, None, None]


_JITTERS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
_ORDERS = np.array(list(permutations(range(len(_JITTERS)))))  # [24, 4]
