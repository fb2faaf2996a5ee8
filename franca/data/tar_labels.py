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
    pairs = [(path, entry) for path, entries in shards.items() for entry in entries]
    without = [f"{path}/{entry.key}" for path, entry in pairs if not entry.label]
    if not without:
        classes = [name for path, entries in shards.items() for name in _written(path, entries)]
    elif len(without) == len(pairs) and _are_classes([path.stem for path in shards]):
        classes = [path.stem for path, _ in pairs]
    else:
        raise DataError(
            f"No labels in {location}: {len(without):,} of {len(pairs):,} samples have no .cls member (first: "
            f"{without[0]}). Expected a .cls beside every image, or one tar a class, named after it."
        )
    names = tuple(sorted(set(classes), key=_by_number_then_text))
    label = {name: index for index, name in enumerate(names)}
    return names, np.array([label[name] for name in classes])


def _written(path: Path, entries: list[Entry]) -> list[str]:
    """What the ``.cls`` members of one shard say."""
    with path.open("rb") as file:
        return [_class_name(file, e.label, f"{path}/{e.key}.cls") for e in entries if e.label]


def _class_name(file: IO[bytes], span: Span, where: str) -> str:
    file.seek(span.offset)
    text = file.read(min(span.size, 256)).decode("utf-8", errors="replace").strip()
    if not text.isprintable() or not text or "\ufffd" in text:
        raise DataError(f"{where} holds {text!r}. Expected a class number or name.")
    return text


def _by_number_then_text(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _are_classes(stems: Sequence[str]) -> bool:
    """Whether tars are named after classes: names that differ only in a running number are shards.

    WordNet's synsets, n01440764 for one, are classes although they are numbers.
    """
    if all(re.fullmatch(r"n\d{8}", stem) for stem in stems):
        return len(stems) > 1
    return len(stems) > 1 and len({stem.rstrip("0123456789") for stem in stems}) == len(stems)
