"""Patch features as colours: their first three principal components, by one basis for all images.

Neither the basis nor the colours depend on how the features lie in space: features that are negated or turned give the
same picture. Only the sign of each component has to be chosen, and it is the one with which the component is skewed to
the right: what few patches have is bright.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from franca.errors import ConfigError, DataError
from franca.evaluation.pca import Pca

NUM_COLOURS = 3
QUANTILES = (0.01, 0.99)  # what lies beyond takes the last colour: single patches would eat up the range
NUM_BINS = 256


def joint_colours(maps: Sequence[Tensor], *, foreground: bool = False, threshold: float | None = None) -> list[Tensor]:
    """Patch features of several images as colours that mean the same in all of them.

    Args:
        maps: One [h, w, D] an image; h and w may differ.
        foreground: Fit and colour only patches in the foreground, see `is_foreground`; the others are black.
        threshold: For the foreground.

    Returns:
        One [h, w, 3] uint8 an image. Each component is stretched from its 1st to its 99th percentile over all images.

    Raises:
        ConfigError: Features have less than three dimensions, or no patch lies in the foreground.
        DataError: A feature is NaN or infinite.
    """
    rows = torch.cat([patches.flatten(0, 1) for patches in maps]).float()  # [n, D]
    if rows.shape[1] < NUM_COLOURS:
        raise ConfigError(f"patch features have {rows.shape[1]} dimensions; a picture takes {NUM_COLOURS} or more")
    if not torch.isfinite(rows).all():
        raise DataError("patch features are NaN or infinite: the model is broken, or precision=fp32 is needed")
    shown = torch.ones(len(rows), dtype=torch.bool)
    if foreground:
        border = torch.cat([_is_border(*patches.shape[:2]).flatten() for patches in maps])
        shown = is_foreground(components(rows, 1)[:, 0], border, threshold)
        if not shown.any():
            raise ConfigError(f"threshold={threshold} leaves no patch in the foreground; try a lower one")
    colours = torch.zeros(len(rows), NUM_COLOURS, dtype=torch.uint8)
    colours[shown] = stretched(components(rows[shown], NUM_COLOURS))
    sizes = [patches.shape[0] * patches.shape[1] for patches in maps]
    parts = colours.split(sizes)
    return [part.unflatten(0, patches.shape[:2]) for part, patches in zip(parts, maps, strict=True)]


def components(rows: Tensor, count: int) -> Tensor:
    """The first principal components [n, count] of features [n, D], each skewed to the right."""
    scores = Pca.of(rows)(rows, count)
    skewness = scores.double().pow(3).sum(0)
    skewed: Tensor = torch.where(skewness < 0, -scores, scores)
    return skewed


def stretched(values: Tensor) -> Tensor:
    """Columns [n, c] as bytes, each from its 1st percentile (0) to its 99th (255)."""
    low, high = torch.from_numpy(np.quantile(values.numpy(), QUANTILES, axis=0)).float()
    share: Tensor = (values - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    return (share.clamp(0, 1) * 255).round().byte()


def is_foreground(first: Tensor, border: Tensor, threshold: float | None = None) -> Tensor:
    """Which patches lie in the foreground: the side of the first component that images have less on their borders.

    Args:
        first: [n], the first component, with mean 0.
        border: [n] bool, whether a patch lies on the border of its image.
        threshold: In standard deviations towards the foreground; None takes `parting`.

    Returns:
        [n] bool.
    """
    above = first > parting(first)
    is_background = above[border].float().mean() > above[~border].float().mean()
    towards = -first if is_background else first
    limit = parting(towards) if threshold is None else threshold * float(first.std(correction=0))
    return towards > limit


def parting(values: Tensor) -> float:
    """The value that parts values [n] into two groups with means as far apart as their sizes allow.

    Source: Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    counts, edges = np.histogram(values.double().numpy(), bins=NUM_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1].clip(1)  # 0 only where all values are equal
    above = (counts.sum() - counts.cumsum()[:-1]).clip(1)
    total_below = (counts * centres).cumsum()[:-1]
    total_above = (counts * centres).sum() - total_below
    between = below * above * (total_below / below - total_above / above) ** 2
    return float(edges[1 + int(between.argmax())])


def _is_border(rows: int, columns: int) -> Tensor:
    border = torch.ones(rows, columns, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return border
