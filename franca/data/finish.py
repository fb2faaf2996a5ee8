"""From cut crops, as bytes, to what the network reads: recoloured, normalised, as floats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from franca.data.color import ColorDraw, ColorRecipe, jitter_order, recolor
from franca.data.rows import put_rows, take_rows

_CHUNK_VALUES = {"cpu": 160_000}  # one crop of 224 pixels: with what is in between it fits in the cache of a core
_CHUNK_VALUES_ELSEWHERE = 1 << 25  # 128 MiB


def finish(
    pixels: Tensor,
    draws: NDArray[np.float64],
    recipe: ColorRecipe,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    out: Tensor,
) -> None:
    """Recolour and normalise crops, on the device they are on.

    Args:
        pixels: [n, 3, S, S] uint8.
        draws: [n, len(ColorDraw)] in [0, 1), what decides each crop's colours.
        recipe: How often each change happens.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel, of pixels in [0, 1].
        out: [n, 3, S, S] float32, to be filled.
    """
    center = torch.tensor(mean, device=pixels.device)[:, None, None]
    scale = 1 / torch.tensor(std, device=pixels.device)[:, None, None]
    for rows in _chunks(pixels, draws, recipe):
        crops = recolor(take_rows(pixels, rows).float().div_(255), draws[rows], recipe)
        put_rows(out, rows, crops.sub_(center).mul_(scale))


def _chunks(pixels: Tensor, draws: NDArray[np.float64], recipe: ColorRecipe) -> Iterator[NDArray[np.int64]]:
    """Rows to be changed together: those that share an order of jitters come one after the other."""
    jittered = draws[:, ColorDraw.JITTER] < recipe.jitter
    blurred = draws[:, ColorDraw.BLUR] < recipe.blur
    rows = np.lexsort((blurred, np.where(jittered, jitter_order(draws), -1)))
    values = _CHUNK_VALUES.get(pixels.device.type, _CHUNK_VALUES_ELSEWHERE)
    size = max(1, values // max(1, pixels[:1].numel()))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
