"""ADE20K as it is downloaded (ADEChallengeData2016): 150 classes, and 0 for everything else."""

from __future__ import annotations

from pathlib import Path

from franca.data.decode import EXTENSIONS
from franca.data.segmentation.masks import codes_of
from franca.data.segmentation.pairs import PairSource
from franca.data.segmentation.voc import find_files
from franca.errors import DataError

FOLDERS = ("images", "annotations")
NESTED = ("ADEChallengeData2016",)
NUM_CLASSES = 150
OTHERS = 0  # what belongs to none of the 150
_NAMES = "objectInfo150.txt"


def open_split(location: str, root: Path, split: str, masks: str | None) -> PairSource:
    """The images of ``images/<split>`` with their masks in ``annotations/<split>``.

    Raises:
        DataError: No such split, an empty one, a mask that is not there, or ``masks`` that this layout does not have.
    """
    if masks is not None:
        raise DataError(f"masks={masks}: {location} is laid out as ADE20K, whose masks all lie in annotations.")
    splits = sorted(path.name for path in (root / "images").iterdir() if path.is_dir())
    if split not in splits:
        raise DataError(f"{root} has no split {split!r}; choose from: {', '.join(splits) or 'none'}.")
    images = sorted(path.name for path in (root / "images" / split).iterdir())
    images = [name for name in images if name.lower().endswith(EXTENSIONS)]
    if not images:
        raise DataError(f"{root / 'images' / split} holds no image.")
    folder = f"annotations/{split}"
    if not (root / folder).is_dir():
        raise DataError(f"{root / folder} is missing. Expected the masks of {split} in it.")
    found = find_files(root, folder, [name.rpartition(".")[0] for name in images], (".png",), "mask")
    codes = codes_of(NUM_CLASSES, first=OTHERS + 1, ignored=(OTHERS,))
    return PairSource(location, root, [f"images/{split}/{name}" for name in images], found, read_names(root), codes)


def read_names(root: Path) -> tuple[str, ...]:
    """Class names from ``objectInfo150.txt``, whose last column they are; numbers where it is missing."""
    path = root / _NAMES
    if not path.is_file():
        return tuple(f"class {number}" for number in range(1, NUM_CLASSES + 1))
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
    if len(rows) != NUM_CLASSES:
        raise DataError(f"{path} names {len(rows)} classes. Expected {NUM_CLASSES}, below a line of titles.")
    return tuple(row[-1].strip() for row in rows)
