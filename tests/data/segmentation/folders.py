"""Small folders laid out like real data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (6, 8)  # height and width of every image


def save_image(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 100, np.uint8)).save(path)


def save_mask(path: Path, mask: NDArray[np.uint8], mode: str = "P") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette([value for index in range(256) for value in (index, 255 - index, index * 7 % 256)])
    image.save(path)


def mask_of(*values: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A mask whose pixels take turns among values."""
    return np.resize(np.array(values, np.uint8), size)


def voc_folder(
    root: Path, keys: Sequence[str] = ("a", "b", "c"), *, split: str = "train", masks: str = "SegmentationClass"
) -> Path:
    """A Pascal VOC layout of images whose masks hold the class 1, the class 2 and 255."""
    for key in keys:
        save_image(root / "JPEGImages" / f"{key}.jpg")
        save_mask(root / masks / f"{key}.png", mask_of(1, 2, 255))
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))
    return root


def ade_folder(root: Path, keys: Sequence[str] = ("ADE_1", "ADE_2"), *, split: str = "training") -> Path:
    """An ADE20K layout of images whose masks hold 0 (others), 1 and 150."""
    for key in keys:
        save_image(root / "images" / split / f"{key}.jpg")
        save_mask(root / "annotations" / split / f"{key}.png", mask_of(0, 1, 150), mode="L")
    return root
