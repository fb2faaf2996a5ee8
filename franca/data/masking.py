"""Which patches of the global crops are hidden from the student."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from franca.data.permutation import Permutation
from franca.data.randomness import Ints, Stream, derive_key, generator

Masks: TypeAlias = NDArray[np.bool_]


def cyclic_mask(
    grid: tuple[int, int], num_masked: int, *, aspect: tuple[float, float], roll: bool, rng: np.random.Generator
) -> Masks:
    """Hide everything but one block of patches, which may wrap around the borders.

    Args:
        grid: patches (h, w) of the crop.
        num_masked: patches to hide, in [0, h * w - 1].
        aspect: range of height over width of the visible block.
        roll: shift the block cyclically, so that every patch is visible equally often.
        rng: where the block comes from; three numbers are drawn.

    Returns:
        [h, w] bool, True = hidden, exactly ``num_masked`` times.

    Source: Franca, section 2.2, Algorithm 1. Different here: the aspect is clamped to what fits the grid and the
        block's surplus is left out in raster order, so that the count is exact for every ratio.
    """
    height, width = grid
    num_visible = height * width - num_masked
    low, high = np.clip(aspect, num_visible / width**2, height**2 / num_visible)
    log_aspect, down, right = rng.random(3)
    ratio = math.exp(math.log(low) + log_aspect * (math.log(high) - math.log(low)))
    rows = min(height, math.ceil(math.sqrt(num_visible * ratio)))
    columns = min(width, math.ceil(math.sqrt(num_visible / ratio)))
    # A block placed anywhere and then shifted around the torus starts at any patch with equal probability.
    top = int(down * (height if roll else height - rows + 1))
    left = int(right * (width if roll else width - columns + 1))
    block = np.arange(num_visible)
    mask = np.ones(grid, dtype=np.bool_)
    mask[(top + block // columns) % height, (left + block % columns) % width] = False
    return mask


@dataclass(frozen=True, kw_only=True)
class MaskPlan:
    """The masks of every position of the sample plan; the fields are ``objective.mask_…`` and their surroundings."""

    grid: tuple[int, int]
    global_batch: int
    seed: int
    probability: float
    ratio: tuple[float, float]
    aspect: tuple[float, float]
    roll: bool

    def masks(self, positions: Ints) -> Masks:
        """The masks of both global crops of each position.

        A share ``probability`` of the crops of a whole step is masked, exactly; their ratios lie one in each of as
        many equal parts of the ratio range, so that every global batch spreads over the range evenly.

        Args:
            positions: [B] positions in the sample plan.

        Returns:
            [2 * B, N] bool, True = hidden; the first B rows are view 0.
        """
        steps, places = np.divmod(positions, self.global_batch)
        num_crops = 2 * self.global_batch
        num_masked_crops = int(num_crops * self.probability)
        masks = np.zeros((2, len(positions), *self.grid), dtype=np.bool_)
        shuffle = Permutation(num_crops, derive_key(self.seed, Stream.MASKED_CROPS, steps))
        for view in range(2):
            keys = derive_key(self.seed, Stream.MASK, positions, view)
            strata = shuffle(view * self.global_batch + places)
            for index in np.flatnonzero(strata < num_masked_crops):
                rng = generator(keys[index])
                part = (strata[index] + rng.random()) / num_masked_crops
                masks[view, index] = self._mask(part, rng)
        return masks.reshape(2 * len(positions), -1)  # [2 * B, N]

    def _mask(self, part: float, rng: np.random.Generator) -> Masks:
        """One mask; ``part`` in [0, 1] says where in the ratio range it lies."""
        low, high = self.ratio
        num_patches = self.grid[0] * self.grid[1]
        num_masked = min(int((low + (high - low) * part) * num_patches), num_patches - 1)
        return cyclic_mask(self.grid, num_masked, aspect=self.aspect, roll=self.roll, rng=rng)
