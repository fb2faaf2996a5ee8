"""Images beside their masks and what a head predicts."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from franca.data.segmentation.masks import IGNORE
from franca.errors import ConfigError
from franca.evaluation.dense.validation import Example

GAP_PX = 4
_GOLDEN = 0.618034  # hues this far apart never come close to one another
_IGNORED = (255, 255, 255)


def draw_segmentation(
    images: Sequence[Tensor], masks: Sequence[Tensor], predictions: Sequence[Tensor], *, side_px: int = 160
) -> Image.Image:
    """Three rows: images, their masks, predictions. A class has the same colour everywhere; ignored pixels are white.

    Args:
        images: [3, H, W] uint8, any sizes.
        masks: [H, W] uint8, 255 = ignore.
        predictions: [H, W] uint8.
        side_px: Height of a row; columns keep their proportions.
    """
    colours = class_colours()
    rows = [
        [image.permute(1, 2, 0).numpy() for image in images],
        [colours[mask.numpy()] for mask in masks],
        [colours[prediction.numpy()] for prediction in predictions],
    ]
    widths = [max(1, round(image.shape[2] * side_px / image.shape[1])) for image in images]
    sheet = Image.new("RGB", (sum(widths) + GAP_PX * (len(widths) - 1), 3 * side_px + 2 * GAP_PX), (255, 255, 255))
    for row, pictures in enumerate(rows):
        left = 0
        for picture, width in zip(pictures, widths, strict=True):
            smooth = Image.Resampling.BICUBIC if row == 0 else Image.Resampling.NEAREST
            sheet.paste(Image.fromarray(picture).resize((width, side_px), smooth), (left, row * (side_px + GAP_PX)))
            left += width + GAP_PX
    return sheet


def class_colours() -> NDArray[np.uint8]:
    """A colour for each value of a mask, [256, 3]: class 0 is dark, the others differ in hue and lightness."""
    colours = np.zeros((256, 3), np.uint8)
    for index in range(1, IGNORE):
        hue, lightness, saturation = index * _GOLDEN % 1, (0.6, 0.5, 0.4)[index % 3], (0.5, 0.9)[index % 2]
        colours[index] = [round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, saturation)]
    colours[0], colours[IGNORE] = (40, 40, 40), _IGNORED
    return colours


def write_picture(path: Path, examples: Sequence[Example]) -> None:
    """Writes the picture of some examples.

    Raises:
        ConfigError: It cannot be written there.
    """
    sheet = draw_segmentation(
        [example.image for example in examples],
        [example.mask for example in examples],
        [example.prediction for example in examples],
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except OSError as error:
        raise ConfigError(f"pictures: {path} cannot be written: {error}") from error
