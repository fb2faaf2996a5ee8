"""Images that the package draws itself: three or four textured shapes of one kind on textured clutter.

The eight classes differ by shape alone. Place, size, turn, light, colours and textures are drawn alike for
all classes, and shapes of one size cover the same area, so that neither colours nor a coarse look give a
class away. Each shape has a colour of its own: what two crops of an image have in common is above all the
kind of shape, which is what pretraining can find. An image is a pure function of (seed, split, index).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

import franca
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
    mask_names = ("background", *CLASS_NAMES)

    def __init__(self, config: SyntheticConfig, split: Split) -> None:
        self.config = config
        self.split = split
        self.num_images = config.num_images if split == "train" else config.num_val_images
        self.group_sizes = (self.num_images,)

    def __len__(self) -> int:
        return self.num_images

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of every image, which need not be drawn for it."""
        return np.arange(self.num_images) % len(CLASS_NAMES)

    def content(self) -> str:
        """Text that names these very images."""
        return f"{self.config} {self.split} {franca.__version__}"

    def read(self, index: int) -> Sample:
        """Draws image ``index``; its mask is 0 on the background and label + 1 on the shapes."""
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
        The image [3, S, S], and its mask [S, S]: 0 on the background, label + 1 on the shapes.
    """
    x, y = _grid(size_px)
    image = _clutter(rng, x, y)  # [3, S, S]
    outlines = _placed(rng, x, y, CLASS_NAMES[label]) * (0.5 * size_px)  # [n, S, S], pixels
    for outline, surface in zip(outlines, _surfaces(rng, x, y, len(outlines)), strict=True):
        image += np.clip(0.5 - outline, 0.0, 1.0) * (surface - image)
    image *= _light(rng, x, y)
    image += rng.random((size_px, size_px), dtype=np.float32) * 0.08 - 0.04  # grain
    mask = (outlines < 0).any(axis=0) * np.uint8(label + 1)
    return np.clip(image * 255.0, 0.0, 255.0).astype(np.uint8), mask


@lru_cache(maxsize=8)
def _grid(size_px: int) -> tuple[Field, Field]:
    """Pixel centres from -1 to 1: x [1, S] to the right, y [S, 1] down."""
    centres = ((np.arange(size_px, dtype=np.float32) + 0.5) * (2.0 / size_px) - 1.0).astype(np.float32)
    centres.setflags(write=False)
    return centres[None, :], centres[:, None]


def _placed(rng: np.random.Generator, x: Field, y: Field, name: str) -> Field:
    """Outline functions [n, S, S] of three or four shapes, each at a random place, size and turn, in half sides."""
    quarters = rng.permutation(4)[: 3 + rng.integers(2)]
    quarter = np.stack([quarters % 2, quarters // 2]).astype(np.float32) - 0.5
    place = quarter + rng.random((2, len(quarters)), dtype=np.float32) * 0.7 - 0.35
    radius = _each(rng.random(len(quarters), dtype=np.float32) * 0.16 + 0.28)
    turns = _each(np.array([direction(rng) for _ in quarters], dtype=np.float32))  # [n, 1, 1, 2]
    x, y = x - _each(place[0]), y - _each(place[1])
    cosine, sine = turns[..., 0] / radius, turns[..., 1] / radius
    outlines: Field = SHAPES[name](cosine * x + sine * y, cosine * y - sine * x) * radius
    return outlines


def _surfaces(rng: np.random.Generator, x: Field, y: Field, number: int) -> Field:
    """Colours [n, 3, S, S] of so many surfaces: each has a colour of its own, and all have a texture."""
    colour = 0.55 + 0.4 * rng.random((number, 3, 1, 1), dtype=np.float32)
    texture = TEXTURES[rng.integers(len(TEXTURES))](rng, x, y) - 0.5  # [S, S]
    swing = rng.random((number, 3, 1, 1), dtype=np.float32) * 0.3 - 0.15
    surfaces: Field = colour + swing * texture
    return surfaces


def _clutter(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Irregular textured patches, darker than the shapes: each pixel belongs to the nearest of a few random points."""
    points = rng.random((_NUM_PATCHES, 2), dtype=np.float32) * 2.4 - 1.2
    px, py = points[:, 0, None, None], points[:, 1, None, None]
    patch = ((px * px - 2.0 * px * x) + (py * py - 2.0 * py * y)).argmin(axis=0)  # [S, S]
    shades = 0.05 + 0.45 * rng.random((3, _NUM_PATCHES), dtype=np.float32)
    texture = TEXTURES[rng.integers(len(TEXTURES))](rng, x, y) - 0.5  # [S, S]
    swing = rng.random((3, 1, 1), dtype=np.float32) * 0.2 - 0.1
    image: Field = shades.take(patch, axis=1) + swing * texture
    return image


def _each(values: Field) -> Field:
    """One value a shape [n, …], ready to meet pixels [n, S, S]."""
    return values[:, None, None]


def _light(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Brightness that falls off across the image, under a random exposure."""
    cosine, sine = direction(rng)
    exposure, slope = between(rng, 0.75, 1.15), between(rng, 0.0, 0.3)
    return exposure + ((slope * cosine) * x + (slope * sine) * y)


_NUM_PATCHES = 8
