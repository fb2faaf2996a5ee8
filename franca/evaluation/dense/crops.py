"""Random crops of images with masks, as a source: what a segmentation head is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from franca.data.sample import Sample, Source
from franca.data.segmentation.masks import IGNORE
from franca.data.segmentation.pairs import mask_names_of


@dataclass(frozen=True)
class CropSource:
    """One crop of each image of a source; what is cropped depends on seed, epoch and index alone.

    An image is scaled to cover the crop, then by a factor drawn from ``scale_range``; what is missing where the factor
    is below 1 is filled with ``fill`` and ignored.
    """

    source: Source
    size_px: tuple[int, int]  # height and width of the crops
    scale_range: tuple[float, float] = (1.0, 1.0)
    flip: bool = False  # half of the crops, from left to right
    seed: int = 0
    epoch: int = 0
    fill: tuple[int, int, int] = (0, 0, 0)  # colour, in bytes

    kind = "crops"
    class_names = None

    @property
    def location(self) -> str:
        """Where the images are, as the user wrote it."""
        return self.source.location

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Samples per shard, as in the source."""
        return self.source.group_sizes

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Name of each class of the masks."""
        return mask_names_of(self.source)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Sample:
        """A crop with its mask."""
        sample = self.source.read(index)
        mask = torch.full(sample.image.shape[1:], IGNORE, dtype=torch.uint8) if sample.mask is None else sample.mask
        rng = np.random.default_rng([self.seed, self.epoch, index])
        scaled = covering_size(sample.image.shape[1:], self.size_px, rng.uniform(*self.scale_range))
        places = rng.random(2)
        image = self._cut(scale_image(sample.image, scaled), places)
        mask = self._cut(scale_mask(mask, scaled)[None], places)[0]
        if self.flip and rng.random() < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        return Sample(sample.key, image, mask=mask)

    def content(self) -> str | None:
        """Text that changes when the crops do; None where the source cannot tell."""
        content = getattr(self.source, "content", None)
        inner = None if content is None else content()
        chosen = (self.size_px, self.scale_range, self.flip, self.seed, self.epoch, self.fill)
        return None if inner is None else f"crops {chosen} of {inner}"

    def _cut(self, image: Tensor, places: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Tensor:
        """The crop of [C, H, W] whose corner is at these shares of the room that there is."""
        image = self._fill_up(image)
        top, left = (
            int(share * (side - wanted + 1))
            for share, side, wanted in zip(places, image.shape[1:], self.size_px, strict=True)
        )
        return image[:, top : top + self.size_px[0], left : left + self.size_px[1]]

    def _fill_up(self, image: Tensor) -> Tensor:
        missing = [max(0, wanted - side) for side, wanted in zip(image.shape[1:], self.size_px, strict=True)]
        if not any(missing):
            return image
        values = self.fill if len(image) == 3 else (IGNORE,)
        channels = [
            pad(channel, (0, missing[1], 0, missing[0]), value=value)
            for channel, value in zip(image, values, strict=True)
        ]
        return torch.stack(channels)


def covering_size(shape: tuple[int, ...], size_px: tuple[int, int], factor: float = 1.0) -> tuple[int, int]:
    """Height and width of an image scaled to just cover a size, times a factor; its proportions stay."""
    height, width = shape
    scale = max(size_px[0] / height, size_px[1] / width) * factor
    least = size_px if factor >= 1 else (1, 1)  # rounding must not leave a pixel uncovered
    return max(least[0], round(height * scale)), max(least[1], round(width * scale))


def scale_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """[3, H, W] uint8 at another size, bicubic and antialiased."""
    scaled: Tensor = F.resize(image, list(size), interpolation=InterpolationMode.BICUBIC, antialias=True)
    return scaled


def scale_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """[H, W] uint8 at another size, taking nearest pixels."""
    scaled: Tensor = F.resize(mask[None], list(size), interpolation=InterpolationMode.NEAREST_EXACT)
    return scaled[0]
