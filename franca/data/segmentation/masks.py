"""A mask file to class indexes, and whether it fits its image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from franca.errors import DataError

IGNORE = 255  # pixels of this value are nobody's
NO_CLASS = -1
Mask: TypeAlias = NDArray[np.uint8]  # [H, W]
Codes: TypeAlias = NDArray[np.int16]  # [256]: value in a file to class index, IGNORE or NO_CLASS

_LYING = (5, 6, 7, 8)  # EXIF orientations that swap height and width


def codes_of(num_classes: int, *, first: int = 0, ignored: Sequence[int] = (IGNORE,)) -> Codes:
    """What the values of mask files mean.

    Args:
        num_classes: from 1 to 255.
        first: The value of class 0 in a file; the others follow.
        ignored: Values of pixels that belong to no class.
    """
    codes = np.full(256, NO_CLASS, np.int16)
    codes[first : first + num_classes] = np.arange(num_classes)
    codes[list(ignored)] = IGNORE
    return codes


def read_mask(path: Path, codes: Codes) -> Mask:
    """Class of every pixel, [H, W], and IGNORE where it has none.

    Raises:
        DataError: The file cannot be read, holds colours instead of indexes, or a value that is no class.
    """
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.array(image)
    except Exception as error:  # damaged bytes raise almost anything
        raise DataError(f"The mask {path} cannot be read: {error}.") from error
    if mode not in ("P", "L", "1"):
        raise DataError(
            f"The mask {path} has pixels of mode {mode}. Expected one byte a pixel, the index of its class: a palette "
            "or grey PNG."
        )
    classes = codes[values.astype(np.uint8)]
    wrong = np.unique(values[classes == NO_CLASS])
    if len(wrong):
        known = np.flatnonzero((codes != NO_CLASS) & (codes != IGNORE))
        ignored = ", ".join(map(str, np.flatnonzero(codes == IGNORE)))
        raise DataError(
            f"The mask {path} holds {', '.join(map(str, wrong[:5]))}, outside the classes {known[0]} to {known[-1]} "
            f"({ignored} = ignore)."
        )
    return classes.astype(np.uint8)


def check_size(mask: Mask, mask_path: Path, size: tuple[int, int]) -> None:
    """Raises a DataError where a mask has not the (height, width) of its image."""
    if mask.shape != size:
        height, width = mask.shape
        raise DataError(
            f"The mask {mask_path} is {height} x {width}, its image {size[0]} x {size[1]} pixels (height x width). "
            "They must be alike."
        )


def image_size(path: Path) -> tuple[int, int] | None:
    """Height and width of an image, upright by its EXIF orientation, from its header; None where it has none."""
    try:
        with Image.open(path) as image:
            lying = image.getexif().get(ExifTags.Base.Orientation) in _LYING
            return (image.width, image.height) if lying else (image.height, image.width)
    except Exception:  # reading the image will say what is wrong with it
        return None
