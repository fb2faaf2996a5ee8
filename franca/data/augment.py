"""Multi-crop: two large and several small views of each image, cut, flipped and recoloured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from franca.config.schema import DataConfig
from franca.data.color import ColorDraw, ColorRecipe, recolor
from franca.data.randomness import Ints, Stream, derive_key, generator

Draws: TypeAlias = NDArray[np.float64]

BLUR_PROBABILITIES = (1.0, 0.1, 0.5)  # global 1, global 2, local
ASPECT = (3 / 4, 4 / 3)  # width over height
TRIES = 10
_FLIP = 2 * TRIES + 2  # the draws of one crop: its box, its flip, its colours
_COLORS = _FLIP + 1
_NUM_DRAWS = _COLORS + len(ColorDraw)


@dataclass(frozen=True)
class View:
    """One of the crops of an image: its size in pixels, its share of the image's area, its colours."""

    size_px: int
    scale: tuple[float, float]
    colors: ColorRecipe


class MultiCrop:
    """Cuts the views of images; what happens at a position depends on the seed and the position alone.

    Args:
        config: Sizes, scales and probabilities.
        seed: Which crops.

    Source: DINOv2's augmentation, as Franca section 1 uses it. Different here: blur has the probabilities that were
        meant, unless ``config.blur`` is ``inverted``.
    """

    def __init__(self, config: DataConfig, *, seed: int) -> None:
        views = _views(config)
        self._global_views, self._local_views = views[:2], views[2:]
        self._sizes_px = (config.global_size_px, config.local_size_px)
        self._flip = config.flip
        self._mean = torch.tensor(config.mean)[:, None, None]
        self._std = torch.tensor(config.std)[:, None, None]
        self._seed = seed

    def __call__(self, images: Iterable[Tensor], positions: Ints) -> tuple[Tensor, Tensor]:
        """The crops of a batch of images.

        Args:
            images: B images [3, H, W] uint8 of any size, taken one at a time.
            positions: [B] positions in the sample plan.

        Returns:
            Global crops [2 * B, 3, S, S] and V local crops [V * B, 3, s, s], float32, normalised, view by view.
        """
        views = (*self._global_views, *self._local_views)
        keys = derive_key(self._seed, Stream.CROPS, positions)
        draws = np.stack([generator(key).random((len(views), _NUM_DRAWS)) for key in keys], axis=1)  # [2+V, B, draws]
        num_images = len(positions)
        size, local_size = self._sizes_px
        large = torch.empty(2, num_images, 3, size, size, dtype=torch.uint8)
        small = torch.empty(len(views) - 2, num_images, 3, local_size, local_size, dtype=torch.uint8)
        crops = (*large, *small)  # per view [B, 3, size, size]
        for index, image in enumerate(images):
            # Resizing is twice as fast on pixels whose three channels lie side by side.
            image = image[None].contiguous(memory_format=torch.channels_last)
            for view, crop, draw in zip(views, crops, draws[:, index], strict=True):
                crop[index] = _cut(image, view, draw)
        return (
            self._finish(large, self._global_views, draws[:2]),
            self._finish(small, self._local_views, draws[2:]),
        )

    def _finish(self, pixels: Tensor, views: Sequence[View], draws: Draws) -> Tensor:
        """Flip, recolour and normalise views of one size: [v, B, 3, S, S] uint8 -> [v * B, 3, S, S] float32."""
        flipped = torch.from_numpy(draws[..., _FLIP] < self._flip)  # [v, B]
        pixels[flipped] = pixels[flipped].flip(-1)
        crops = pixels.float().div_(255)
        for view, view_crops, view_draws in zip(views, crops, draws, strict=True):
            recolor(view_crops, view_draws[:, _COLORS:], view.colors)
        return crops.sub_(self._mean).div_(self._std).flatten(0, 1)


def crop_box(height: int, width: int, scale: tuple[float, float], draws: Sequence[float]) -> tuple[int, int, int, int]:
    """A box of random area and aspect that fits the image.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        scale: Smallest and largest share of the image's area.
        draws: Uniform numbers in [0, 1): one for the area and one for the aspect of each try, two for the place.

    Returns:
        Top, left, height and width. Where no try fits, the largest box in the middle with a permitted aspect.
    """
    *shapes, down, right = draws
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    for area_draw, aspect_draw in zip(shapes[::2], shapes[1::2], strict=True):
        area = height * width * (scale[0] + area_draw * (scale[1] - scale[0]))
        aspect = math.exp(low + aspect_draw * (high - low))
        box_height, box_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = int(down * (height - box_height + 1)), int(right * (width - box_width + 1))
            return top, left, box_height, box_width
    box_height = min(height, max(1, round(width / ASPECT[0])))
    box_width = min(width, max(1, round(height * ASPECT[1])))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _cut(image: Tensor, view: View, draws: Draws) -> Tensor:
    """One crop [3, S, S] uint8 of an image [1, 3, H, W] uint8."""
    top, left, height, width = crop_box(image.shape[2], image.shape[3], view.scale, draws[:_FLIP].tolist())
    box = image[:, :, top : top + height, left : left + width]
    return interpolate(box, size=(view.size_px, view.size_px), mode="bicubic", antialias=True)[0]


def _views(config: DataConfig) -> tuple[View, ...]:
    """Global 1, global 2, and as many local views as there are."""
    sizes = (config.global_size_px, config.global_size_px, config.local_size_px)
    scales = (config.global_scale, config.global_scale, config.local_scale)
    solarize = (0.0, config.solarize, 0.0)
    blurs = [1 - p if config.blur == "inverted" else p for p in BLUR_PROBABILITIES]
    first, second, local = (
        View(
            size,
            (scale[0], scale[1]),
            ColorRecipe(
                jitter=config.color_jitter,
                grayscale=config.grayscale,
                blur=blur,
                solarize=probability,
                sigma_px=(config.blur_sigma_px[0], config.blur_sigma_px[1]),
            ),
        )
        for size, scale, blur, probability in zip(sizes, scales, blurs, solarize, strict=True)
    )
    return (first, second, *[local] * config.num_local_crops)
