"""Labels of tar shards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from franca.data.tar_index import Entry, Span
from franca.errors import DataError


def tar_labels(shards: dict[Path, list[Entry]], location: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names, and the label of each sample.

    A label is what the sample's ``.cls`` member says; where no sample has one, each tar is a class. Class
    numbers sort as numbers.

    Raises:
        DataError: A ``.cls`` is missing or holds no name, or the tars are numbered shards, not classes.
    """
    without = [
        f"{path}/{entry.key}" for path, entries in shards.items() for entry in entries if not entry.label
    ]
    total = sum(map(len, shards.values()))
    if not without:
        classes = [name for path, entries in shards.items() for name in _written(path, entries)]
    elif len(without) == total and len(shards) > 1 and not _numbered([path.stem for path in shards]):
        classes = [path.stem for path, entries in shards.items() for _ in entries]
    else:
        raise DataError(
            f"No labels in {location}: {len(without):,} of {total:,} samples have no .cls member (first: "
            f"{without[0]}). Expected a .cls beside every image, or one tar a class, named after it."
        )
    names = tuple(sorted(set(classes), key=lambda name: (not name.isdecimal(), name.zfill(20), name)))
    label = {name: index for index, name in enumerate(names)}
    return names, np.array([label[name] for name in classes])


def _written(path: Path, entries: list[Entry]) -> list[str]:
    """What the ``.cls`` members of one shard say."""
    with path.open("rb") as file:
        return [_class_name(file, entry.label or Span(0, 0), f"{path}/{entry.key}.cls") for entry in entries]


def _class_name(file: IO[bytes], span: Span, where: str) -> str:
    file.seek(span.offset)
    text = file.read(min(span.size, 256)).decode("utf-8", errors="replace").strip()
    if not text.isprintable() or not text or "\ufffd" in text:
        raise DataError(f"{where} holds {text!r}. Expected a class number or name.")
    return text


def _numbered(stems: Sequence[str]) -> bool:
    """Whether names are one name with a running number: then a tar is a shard, not a class.

    Synsets such as n01440764 are numbers too, but far apart.
    """
    parts = [re.fullmatch(r"(.*?)(\d+)", stem) for stem in stems]
    numbers = [int(part[2]) for part in parts if part]
    same = len({part[1] if part else None for part in parts}) == 1
    return same and len(numbers) == len(stems) and max(numbers) - min(numbers) < 1000 * len(stems)
