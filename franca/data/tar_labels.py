"""Labels of tar shards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from franca.data.class_names import names_of_numbers
from franca.data.open_shards import OpenShards, ShardError
from franca.data.tar_index import LABEL, Span
from franca.errors import DataError

_LONGEST_NAME = 256  # bytes of a .cls that are read
_NO_CLASS = ""  # of places that hold no sample, because a shard is damaged


def tar_labels(
    shards: OpenShards, group_sizes: Sequence[int], location: str
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names, and the label of each sample.

    A label is what the sample's ``.cls`` member says; where no sample has one, each tar is a class. Class
    numbers sort as numbers; where ``classes.txt`` lies beside the shards, they count its lines from 0.

    Args:
        shards: The shards, which are all opened.
        group_sizes: Samples of each.
        location: What the user wrote, for messages.

    Raises:
        DataError: A ``.cls`` is missing or holds no name, or the tars are numbered shards, not classes.
    """
    stems = [PurePath(shards.short_name(shard)).stem for shard in range(len(shards))]
    written = [_written(shards, shard) for shard in range(len(shards))]
    without = [f"{shards.name(shard)}/{key}" for shard, texts in enumerate(written) for key, text in texts if not text]
    num_samples = sum(map(len, written))
    if without and not (len(without) == num_samples and are_classes(stems)):
        raise DataError(
            f"No labels in {location}: {len(without):,} of {num_samples:,} samples have no .cls member (first: "
            f"{without[0]}). Expected a .cls beside every image, or one tar a class, named after it."
        )
    classes: list[str] = []
    for stem, texts, size in zip(stems, written, group_sizes, strict=True):
        here = [text or stem for _, text in texts][:size]
        classes += here + [_NO_CLASS] * (size - len(here))
    found = tuple(sorted(set(classes) - {_NO_CLASS}, key=_by_number_then_text))
    names = names_of_numbers(found, [shards.name(shard) for shard in range(len(shards))])
    label = {name: index if names is None else int(name) for index, name in enumerate(found)} | {_NO_CLASS: -1}
    return names or found, np.array([label[name] for name in classes])


def are_classes(stems: Sequence[str]) -> bool:
    """Whether tars are named after classes: names that differ only in a running number are shards.

    WordNet's synsets, n01440764 for one, are classes although they are numbers.
    """
    if are_synsets(stems):
        return True
    return len(stems) > 1 and len({stem.rstrip("0123456789") for stem in stems}) == len(stems)


def are_synsets(names: Sequence[str]) -> bool:
    """Whether there are several tars, all named after WordNet's synsets, with or without their ending."""
    return len(names) > 1 and all(re.fullmatch(r"n\d{8}(\.tar)?", name) for name in names)


def _written(shards: OpenShards, shard: int) -> list[tuple[str, str | None]]:
    """Key of each sample of a shard, and what its ``.cls`` member says, or None without one."""
    try:
        index = shards.opened(shard).index
    except ShardError:
        return []
    found: list[tuple[str, str | None]] = []
    for number in range(len(index)):
        key, name, span = index.keys[number], None, index.span(LABEL, number)
        if span:
            data = shards.read(shard, Span(span.offset, min(span.size, _LONGEST_NAME)))
            name = _class_name(data, f"{shards.name(shard)}/{key}.cls")
        found.append((key, name))
    return found


def _class_name(data: bytes, where: str) -> str:
    text = data.decode("utf-8", errors="replace").strip()
    if not text.isprintable() or not text or "\ufffd" in text:
        raise DataError(f"{where} holds {text!r}. Expected a class number or name.")
    return text


def _by_number_then_text(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
