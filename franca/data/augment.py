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
from franca.data.color import ColorDraw, ColorRecipe
from franca.data.decode import REDUCTIONS, Picture
from franca.data.finish import finish
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

    Cutting gives bytes, on the CPU; finishing them gives normalised floats, on the CPU or on the device.

    Args:
        config: Sizes, scales and probabilities.
        seed: Which crops.

    Source: DINOv2's augmentation, as Franca section 1 uses it. Different here: blur has the probabilities that were
        meant, unless ``config.blur`` is ``inverted``; and a large JPEG is decoded at a half, a quarter or an eighth of
        its size where no view needs more pixels.
    """

    def __init__(self, config: DataConfig, *, seed: int) -> None:
        self._views = _views(config)
        self._sizes_px = (config.global_size_px, config.local_size_px)
        self._flip = config.flip
        self._mean, self._std = config.mean, config.std
        self._seed = seed

    def __call__(self, images: Iterable[Tensor], positions: Ints) -> tuple[Tensor, Tensor]:
        """The crops of a batch of images.

        Args:
            images: B images [3, H, W] uint8 of any size, taken one at a time.
            positions: [B] positions in the sample plan.

        Returns:
            Global crops [2 * B, 3, S, S] and V local crops [V * B, 3, s, s], float32, normalised, view by view.
        """
        draws = self.draws(positions)
        large, small = self.cut(map(Picture.whole, images), draws)
        return self.finish(large, small, draws)

    def draws(self, positions: Ints) -> Draws:
        """All that is random at B positions: uniform numbers in [0, 1), [2 + V, B, …]."""
        keys = derive_key(self._seed, Stream.CROPS, positions)
        return np.stack([generator(key).random((len(self._views), _NUM_DRAWS)) for key in keys], axis=1)

    def reduction(self, height: int, width: int, draws: Draws) -> int:
        """How many times smaller an image may be decoded such that every view still has a pixel for each of its own.

        Args:
            height: Of the image, in pixels.
            width: Of the image, in pixels.
            draws: [2 + V, …], those of the image's position.
        """
        spare = math.inf
        for view, numbers in zip(self._views, draws, strict=True):
            spare = min(spare, min(crop_box(height, width, view.scale, numbers[:_FLIP].tolist())[2:]) / view.size_px)
        return max((factor for factor in REDUCTIONS if factor <= spare), default=1)

    def cut(self, pictures: Iterable[Picture], draws: Draws) -> tuple[Tensor, Tensor]:
        """Cut, resize and flip.

        Args:
            pictures: B pictures, taken one at a time.
            draws: [2 + V, B, …].

        Returns:
            Global crops [2, B, 3, S, S] and local crops [V, B, 3, s, s], uint8.
        """
        num_images = draws.shape[1]
        size, local_size = self._sizes_px
        large = torch.empty(2, num_images, 3, size, size, dtype=torch.uint8)
        small = torch.empty(len(self._views) - 2, num_images, 3, local_size, local_size, dtype=torch.uint8)
        crops = (*large, *small)  # per view [B, 3, size, size]
        for index, picture in enumerate(pictures):
            for view, crop, numbers in zip(self._views, crops, draws[:, index], strict=True):
                resized = _cut(picture, view, numbers)
                crop[index] = resized.flip(-1) if numbers[_FLIP] < self._flip else resized
        return large, small

    def finish(self, large: Tensor, small: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Recolour and normalise cut crops on the device they are on.

        Args:
            large: [2, B, 3, S, S] uint8.
            small: [V, B, 3, s, s] uint8.
            draws: [2 + V, B, …], those that the crops were cut with.

        Returns:
            [2 * B, 3, S, S] and [V * B, 3, s, s], float32.
        """
        large_out, small_out = (torch.empty(crops.shape, device=crops.device) for crops in (large, small))
        # Views 0 and 1 have colours of their own, all others share theirs.
        for first, pixels, out in ((0, large[:1], large_out[:1]), (1, large[1:], large_out[1:]), (2, small, small_out)):
            if len(pixels):
                finish(
                    pixels.flatten(0, 1),
                    draws[first : first + len(pixels), :, _COLORS:].reshape(-1, len(ColorDraw)),
                    self._views[first].colors,
                    mean=self._mean,
                    std=self._std,
                    out=out.flatten(0, 1),
                )
        return large_out.flatten(0, 1), small_out.flatten(0, 1)


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


def _cut(picture: Picture, view: View, draws: Draws) -> Tensor:
    """One crop [3, S, S] uint8 of a picture."""
    top, left, height, width = crop_box(picture.height, picture.width, view.scale, draws[:_FLIP].tolist())
    rows = _reduced(top, height, picture.height, picture.pixels.shape[1])
    columns = _reduced(left, width, picture.width, picture.pixels.shape[2])
    # Resizing is twice as fast on pixels whose three channels lie side by side, and a third faster on a copy.
    box = picture.pixels[None, :, rows, columns].contiguous(memory_format=torch.channels_last)
    return interpolate(box, size=(view.size_px, view.size_px), mode="bicubic", antialias=True)[0]


def _reduced(start: int, length: int, full: int, decoded: int) -> slice:
    """Where a stretch of pixels of the full image lies in one decoded smaller, to the nearest pixel."""
    if decoded == full:
        return slice(start, start + length)
    first = min(round(start * decoded / full), decoded - 1)
    return slice(first, max(first + 1, round((start + length) * decoded / full)))


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
