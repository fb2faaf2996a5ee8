"""Which samples a tar shard holds, and where: found once, kept in a file, so that any one can be read on its own.

The index of ``00000.tar`` is ``00000.tar.index`` beside it or, where that folder cannot be written, a file in
`franca.data.cache_folder`. It takes about 70 bytes a sample, is mapped to memory, so that processes share it, and is
made again when the tar has another size or time.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from franca.data.cache_folder import cache_folder, lock
from franca.data.decode import EXTENSIONS
from franca.data.index_file import Arrays, read_arrays, read_header, write_arrays
from franca.data.packed import PackedStrings
from franca.data.passed_over import PassedOver, kind_of, total
from franca.data.tar_members import Member, read_members
from franca.errors import DataError

_logger = logging.getLogger(__name__)

IMAGE, LABEL, CAPTION, JSON = "image", "label", "caption", "json"
_ENDINGS = {LABEL: ".cls", CAPTION: ".txt", JSON: ".json"}
PARTS = {ending: part for part, ending in _ENDINGS.items()} | dict.fromkeys(EXTENSIONS, IMAGE)
_READ_AHEAD = 1 << 13  # bytes; the small files between two images come with one read


Stamp: TypeAlias = tuple[int, int]
"""Size and time of change of a tar: what tells it from another of its name."""


@dataclass(frozen=True)
class Span:
    """Bytes of one member within its tar."""

    offset: int
    size: int


@dataclass(frozen=True)
class Entry:
    """One sample of a shard: an image and, where there is one, its ``.cls`` member."""

    key: str
    image: Span
    label: Span | None


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one shard in order, and what is wrong with the file, if anything."""

    keys: PackedStrings
    spans: dict[str, NDArray[np.int64]]  # per part [n, 2]: offset and size, size -1 where a sample has no such part
    damage: str | None
    passed_over: PassedOver  # files that belong to no sample, or are of a kind that samples do not have
    stamp: Stamp = (0, 0)  # of the tar that this is the index of

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_samples(self) -> int:
        """Samples, and one more for damage: it is counted as a sample that cannot be read."""
        return len(self) + (self.damage is not None)

    def span(self, part: str, number: int) -> Span | None:
        """Where a part of a sample lies, or None if the sample has none."""
        if part not in self.spans:
            return None
        offset, size = self.spans[part][number].tolist()
        return None if size < 0 else Span(offset, size)

    def has_same_samples(self, other: ShardIndex) -> bool:
        """Whether both list the same samples at the same places."""
        return (
            self.spans.keys() == other.spans.keys()
            and all(np.array_equal(places, other.spans[part]) for part, places in self.spans.items())
            and np.array_equal(self.keys.ends, other.keys.ends)
            and np.array_equal(self.keys.characters, other.keys.characters)
        )

    @property
    def entries(self) -> list[Entry]:
        """All samples as objects; for shards that are not huge."""
        images = (self.span(IMAGE, number) for number in range(len(self)))
        return [
            Entry(self.keys[number], image, self.span(LABEL, number)) for number, image in enumerate(images) if image
        ]


def index_shard(path: Path) -> ShardIndex:
    """Lists the samples of a tar; of one that is cut off, those before the cut.

    Members belong to one sample while they follow each other and share their name up to its first dot. The list is
    taken from the index file where that is up to date; otherwise it is made and kept.

    Raises:
        DataError: The file cannot be opened, or is compressed.
    """
    stamp = _stamp(path)
    if (index := _cached(path, stamp)) is not None:
        return index
    try:
        with path.open("rb", buffering=_READ_AHEAD) as file:
            lock(file)  # other processes need not make the same index
            if (index := _cached(path, stamp)) is not None:  # another process made it meanwhile
                return index
            return _keep(_scan(file, path, stamp), path)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error


class Summary(NamedTuple):
    """What the head of an index file says."""

    num_samples: int  # damage included
    passed_over: PassedOver


def cached_summary(path: Path) -> Summary | None:
    """What the index file of a tar says, without the samples; None where there is none that is up to date.

    Raises:
        DataError: There is no tar.
    """
    stamp = _stamp(path)
    for place in index_places(path):
        header = read_header(place)
        if header is not None and header.get("stamp") == list(stamp):
            return Summary(int(header["num_samples"]), header["passed_over"])
    return None


def index_places(path: Path) -> tuple[Path, Path]:
    """Where the index of a tar may lie, the first choice first: beside it, or in the cache folder."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return path.with_name(path.name + ".index"), cache_folder() / "indexes" / f"{name}.index"


def stamp_in(status: os.stat_result) -> Stamp:
    """The stamp of a file, from its status."""
    return status.st_size, status.st_mtime_ns


def _stamp(path: Path) -> Stamp:
    try:
        return stamp_in(path.stat())
    except OSError as error:
        raise DataError(f"Cannot open {path}: {error.strerror}.") from error


def _cached(path: Path, stamp: Stamp) -> ShardIndex | None:
    for place in index_places(path):
        found = read_arrays(place)
        if found is None:
            continue
        header, arrays = found
        if header.get("stamp") == list(stamp):
            keys = PackedStrings.from_arrays(arrays.pop("key_ends"), arrays.pop("keys"))
            return ShardIndex(keys, arrays, header["damage"], header["passed_over"], stamp)
    return None


def _keep(index: ShardIndex, path: Path) -> ShardIndex:
    """Writes the index to the first place that takes it, and reads it back from there, so that memory is shared."""
    header = {
        "stamp": index.stamp,
        "num_samples": index.num_samples,
        "damage": index.damage,
        "passed_over": index.passed_over,
    }
    arrays: Arrays = {"key_ends": index.keys.ends, "keys": index.keys.characters, **index.spans}
    for place in index_places(path):
        with suppress(OSError):
            write_arrays(place, header, arrays)
            break
    else:
        _logger.warning("The index of %s is held in memory: neither its folder nor the cache folder takes it", path)
        return index
    return _cached(path, index.stamp) or index


def _scan(file: IO[bytes], path: Path, stamp: Stamp) -> ShardIndex:
    if file.read(2) == b"\x1f\x8b":
        raise DataError(f"{path} is compressed, and cannot be read at random: unpack it with gunzip first.")
    members, damage = read_members(file, stamp[0])
    if not members and not damage and not stamp[0]:
        damage = "empty file"
    passed_over = Counter[str]()
    groups = list(_groups(members, passed_over))
    samples = [(key, parts) for key, parts in groups if IMAGE in parts]
    passed_over.update(
        f"{_ENDINGS[part]} without an image" for _, parts in groups if IMAGE not in parts for part in parts
    )
    present = [part for part in (IMAGE, LABEL, CAPTION, JSON) if any(part in parts for _, parts in samples)]
    spans = {
        part: np.array([parts.get(part, (0, -1)) for _, parts in samples], dtype=np.int64).reshape(-1, 2)
        for part in present
    }
    return ShardIndex(PackedStrings(key for key, _ in samples), spans, damage, total([passed_over]), stamp)


def _groups(members: Iterable[Member], passed_over: Counter[str]) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """Groups members that follow each other and share a key; a part that comes twice begins a group of its own.

    Members that are no part of a sample are counted in ``passed_over``.
    """
    key, parts = "", dict[str, tuple[int, int]]()
    for member in members:
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        stem, _, extension = name.partition(".")
        part = PARTS.get("." + extension.lower().rpartition(".")[2])
        if part is None or not stem:  # a name that begins with a dot is hidden
            passed_over[kind_of(name)] += 1
            continue
        next_key = f"{folder}/{stem}" if folder else stem
        if next_key != key or part in parts:
            yield key, parts
            key, parts = next_key, {}
        parts[part] = (member.offset, member.size)
    yield key, parts
