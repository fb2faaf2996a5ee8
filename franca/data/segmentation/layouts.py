"""Recognises folders of images with masks: ``DIR:split``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from franca.data.segmentation import ade20k, voc
from franca.data.segmentation.pairs import PairSource, check_masks
from franca.errors import DataError


@dataclass(frozen=True)
class Layout:
    """One way in which data sets lay out images and masks."""

    needs: tuple[str, ...]  # folders by which it is recognised
    nested: tuple[str, ...]  # where an archive unpacks to, below the folder that is named
    open: Callable[[str, Path, str, str | None], PairSource]


LAYOUTS = {
    "Pascal VOC": Layout(voc.FOLDERS, voc.NESTED, voc.open_split),
    "ADE20K": Layout(ade20k.FOLDERS, ade20k.NESTED, ade20k.open_split),
}


def is_split(location: str) -> bool:
    """Whether a location reads ``DIR:split`` and DIR is a folder."""
    folder, colon, split = location.rpartition(":")
    return bool(colon and split) and not Path(location).exists() and Path(folder).expanduser().is_dir()


def open_split(location: str, *, masks: str | None = None) -> PairSource:
    """Opens ``DIR:split``, and checks all its masks.

    Args:
        location: A folder laid out as Pascal VOC or ADE20K, or one that such an archive was unpacked in, a colon,
            and the name of a split.
        masks: The folder of masks beside ``JPEGImages``, where there are several; None takes the usual one.

    Raises:
        DataError: An unknown layout or split, an empty split, a mask that is missing or does not fit its image.
    """
    folder, _, split = location.rpartition(":")
    if not folder or not split:
        raise DataError(f"{location!r} names no split. Expected DIR:split, as in VOCdevkit/VOC2012:val.")
    root, layout = _recognise(Path(folder).expanduser())
    source = layout.open(location, root, split, masks)
    check_masks(source)
    return source


def _recognise(folder: Path) -> tuple[Path, Layout]:
    for layout in LAYOUTS.values():
        for root in (folder, *(folder / nested for nested in layout.nested)):
            if all((root / needed).is_dir() for needed in layout.needs):
                return root, layout
    expected = "; ".join(f"{name}: {', '.join(layout.needs)}" for name, layout in LAYOUTS.items())
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Expected one with masks ({expected}).")
    raise DataError(f"{folder} is laid out in no known way. Expected it to hold the folders of one of: {expected}.")
