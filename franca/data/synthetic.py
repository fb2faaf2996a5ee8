"""Images that the package draws itself: one textured shape on textured clutter.

The eight classes differ by shape alone. Place, size, turn, light, colours and textures are drawn alike for
all classes, and shapes of one size cover the same area, so that neither colours nor a coarse look give a
class away. An image is a pure function of (seed, split, index).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from franca.config.schema import SyntheticConfig
from franca.data.sample import Sample
from franca.data.shapes import SHAPES, Field
from franca.data.textures import TEXTURES, between, direction

CLASS_NAMES = tuple(SHAPES)

Split = Literal["train", "val"]


class SyntheticSource:
    """Drawn images with label and segmentation mask; class ``index % 8``, so that classes are balanced.

    Args:
        config: How many, how large, from which seed.
        split: ``train`` or ``val``; the two share no image.
    """

    kind = "synthetic"
    location = "synthetic"
    class_names = CLASS_NAMES

    def __init__(self, config: SyntheticConfig, split: Split) -> None:
        self.config = config
        self.split = split
        self.num_images = config.num_images if split == "train" else config.num_val_images
        self.group_sizes = (self.num_images,)

    def __len__(self) -> int:
        return self.num_images

    def read(self, index: int) -> Sample:
        """Draws image ``index``; its mask is 0 on the background and label + 1 on the shape."""
        if not 0 <= index < self.num_images:
            raise IndexError(f"image {index} of {self.num_images}")
        label = index % len(CLASS_NAMES)
        stream = np.random.SeedSequence(self.config.seed, spawn_key=(int(self.split == "val"), index))
        image, mask = draw(label, self.config.size_px, np.random.Generator(np.random.PCG64(stream)))
        return Sample(f"{self.split}/{index:08d}", torch.from_numpy(image), label, torch.from_numpy(mask))


def draw(label: int, size_px: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draws one image of a class.

    Args:
        label: Index into `CLASS_NAMES`.
        size_px: Height and width of the image.
        rng: Everything else is drawn from it.

    Returns:
        The image [3, S, S], and its mask [S, S]: 0 on the background, label + 1 on the shape.
    """
    x, y = _grid(size_px)
    base = rng.random((3, 1, 1), dtype=np.float32)
    apart = rng.random((3, 1, 1), dtype=np.float32) * 0.4 + 0.3
    background = _clutter(rng, x, y, base)  # [3, S, S]
    surface = _textured(rng, x, y, _palette((base + apart) % 1.0))  # [3, S, S]
    outline = _placed(rng, x, y, CLASS_NAMES[label]) * (0.5 * size_px)  # [S, S], pixels
    cover = np.clip(0.5 - outline, 0.0, 1.0)
    image = (background + cover * (surface - background)) * _light(rng, x, y)
    image += rng.random((size_px, size_px), dtype=np.float32) * 0.08 - 0.04  # grain
    mask = (outline < 0) * np.uint8(label + 1)
    return np.clip(image * 255.0, 0.0, 255.0).astype(np.uint8), mask


@lru_cache(maxsize=8)
def _grid(size_px: int) -> tuple[Field, Field]:
    """Pixel centres from -1 to 1: x [1, S] to the right, y [S, 1] down."""
    centres = ((np.arange(size_px, dtype=np.float32) + 0.5) * (2.0 / size_px) - 1.0).astype(np.float32)
    centres.setflags(write=False)
    return centres[None, :], centres[:, None]


def _placed(rng: np.random.Generator, x: Field, y: Field, name: str) -> Field:
    """The outline function of a shape at a random place, size, turn and stretch, in half sides."""
    radius = between(rng, 0.45, 0.62)
    room = 0.95 - 1.35 * radius
    x, y = x - between(rng, -room, room), y - between(rng, -room, room)
    cosine, sine = direction(rng)
    stretch = between(rng, 0.85, 1.15)
    u = (cosine * stretch / radius) * x + (sine * stretch / radius) * y
    v = (cosine / stretch / radius) * y - (sine / stretch / radius) * x
    return SHAPES[name](u, v) * radius


def _clutter(rng: np.random.Generator, x: Field, y: Field, base: Field) -> Field:
    """Irregular patches around one base colour: each pixel belongs to the nearest of a few random points."""
    points = rng.random((_NUM_PATCHES, 2), dtype=np.float32) * 2.4 - 1.2
    px, py = points[:, 0, None, None], points[:, 1, None, None]
    patch = ((px * px - 2.0 * px * x) + (py * py - 2.0 * py * y)).argmin(axis=0)  # [S, S]
    shades = base + rng.random((3, _NUM_PATCHES, 1), dtype=np.float32) * 0.16 - 0.08
    return _textured(rng, x, y, _palette(np.clip(shades, 0.0, 1.0))[:, :, 0].take(patch, axis=1))


def _textured(rng: np.random.Generator, x: Field, y: Field, colour: Field) -> Field:
    """A colour, or one per pixel, that a random texture makes lighter, darker or another hue."""
    texture = TEXTURES[rng.integers(len(TEXTURES))](rng, x, y) - 0.5
    swing = rng.random((3, 1, 1), dtype=np.float32) * 0.3 - 0.15
    return colour + swing * texture


def _palette(unit: Field) -> Field:
    """Keeps colours off the ends of the range, so that light and texture do not clip them."""
    return unit * 0.7 + 0.15


def _light(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Brightness that falls off across the image, under a random exposure."""
    cosine, sine = direction(rng)
    exposure, slope = between(rng, 0.75, 1.15), between(rng, 0.0, 0.3)
    return exposure + ((slope * cosine) * x + (slope * sine) * y)


_NUM_PATCHES = 6
