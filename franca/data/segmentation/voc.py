"""Folders laid out as Pascal VOC, and VOC2012 itself as it is downloaded."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from franca.data.decode import EXTENSIONS
from franca.data.segmentation.masks import IGNORE, codes_of
from franca.data.segmentation.pairs import PairSource
from franca.errors import DataError

LISTS = "ImageSets/Segmentation"
IMAGES = "JPEGImages"
FOLDERS = (IMAGES, LISTS)
NESTED = ("VOCdevkit/VOC2012", "VOC2012")
MASKS = "SegmentationClass"
AUGMENTED = "SegmentationClassAug"  # where masks of the lists whose name ends with "aug" lie
NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)


def open_split(location: str, root: Path, split: str, masks: str | None) -> PairSource:
    """Images that ``ImageSets/Segmentation/<split>.txt`` lists, with the masks of one folder.

    Raises:
        DataError: No such list or folder of masks, an empty list, or a file that is not there.
    """
    keys = _read_list(root, split)
    folder = masks or (AUGMENTED if split.endswith("aug") else MASKS)
    if not (root / folder).is_dir():
        others = sorted(path.name for path in root.glob("Segmentation*") if path.is_dir())
        raise DataError(f"{root} has no folder of masks {folder}; choose masks= from: {', '.join(others) or 'none'}.")
    names = read_names(root, folder)
    return PairSource(
        location,
        root,
        find_files(root, IMAGES, keys, EXTENSIONS, "image"),
        find_files(root, folder, keys, (".png",), "mask"),
        names,
        codes_of(len(names)),
    )


def read_names(root: Path, masks: str) -> tuple[str, ...]:
    """Class names: ``classes.tsv`` for SegmentationClass, ``classes_super.tsv`` for SegmentationSuper, and so on.

    The table has the columns ``index``, counted from 0, and ``name``. Without one for SegmentationClass, the classes
    are the 21 of Pascal VOC.
    """
    suffix = masks.removeprefix("Segmentation").lower()
    usual = suffix in ("class", "classaug")
    path = root / ("classes.tsv" if usual else f"classes_{suffix}.tsv")
    if not path.is_file():
        if usual:
            return tuple(NAMES.split())
        raise DataError(f"{path} is missing. Expected the classes of {masks}: a table with the columns index and name.")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = tuple(row.get("name") or "" for row in rows)
    if not all(names) or [row.get("index") for row in rows] != [str(index) for index in range(len(rows))]:
        raise DataError(f"{path}: expected the columns index and name, with a tab between, and the indexes 0, 1, 2, …")
    if not 0 < len(names) <= IGNORE:
        raise DataError(f"{path} names {len(names)} classes. Expected 1 to {IGNORE}.")
    return names


def find_files(root: Path, folder: str, keys: Iterable[str], extensions: tuple[str, ...], what: str) -> list[str]:
    """The path below ``root`` of the file of every key, whatever its extension.

    Raises:
        DataError: Some are not there; the message names the first.
    """
    files = (path.name for path in (root / folder).iterdir() if path.name.lower().endswith(extensions))
    by_key = {name.rpartition(".")[0]: name for name in files}
    keys = list(keys)
    missing = [key for key in keys if key not in by_key]
    if missing:
        raise DataError(
            f"{root / folder} lacks the {what} of {len(missing):,} of {len(keys):,} entries, the first is {missing[0]} "
            f"(looked for {', '.join(extensions)})."
        )
    return [f"{folder}/{by_key[key]}" for key in keys]


def _read_list(root: Path, split: str) -> list[str]:
    path = root / LISTS / f"{split}.txt"
    if not path.is_file():
        others = sorted(file.stem for file in path.parent.glob("*.txt"))
        raise DataError(f"{root} has no split {split!r}; choose from: {', '.join(others) or 'none'}.")
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = [_key(line.strip()) for line in lines if line.strip()]
    if not keys:
        raise DataError(f"{path} is empty. Expected the name of an image a line, without its extension.")
    return keys


def _key(line: str) -> str:
    """The name of an image; some lists hold ``/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png``."""
    return Path(line.split()[0]).stem if line.startswith("/") else line
