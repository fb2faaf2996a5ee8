"""Which samples a tar shard holds, and where: found once, so that any one can be read on its own."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from franca.data.decode import EXTENSIONS
from franca.errors import DataError


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
    """The samples of one shard, in order, and what is wrong with the file, if anything."""

    entries: list[Entry]
    damage: str | None


def index_shard(path: Path) -> ShardIndex:
    """Lists the samples of a tar; of one that is cut off, those before the cut.

    Members belong to one sample while they follow each other and share their name up to its first dot. Files
    that are neither image nor label are passed over.

    Raises:
        DataError: The file cannot be opened, or is compressed.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"Cannot open {path}: {error.strerror}.") from error
    if compressed:
        raise DataError(f"{path} is compressed, and cannot be read at random: unpack it with gunzip first.")
    members, damage = _members(path)
    whole = [member for member in members if member.offset_data + member.size <= size]
    return ShardIndex(list(_entries(whole)), damage)


def _members(path: Path) -> tuple[list[tarfile.TarInfo], str | None]:
    """The files in a tar that are not hidden, up to the first damage, and what the damage is."""
    members: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isreg() and not PurePosixPath(member.name).name.startswith("."):
                    members.append(member)
            end = tar.offset  # tarfile stops at a broken header as if it were the end
    except tarfile.TarError as error:
        return members, str(error)
    with path.open("rb") as file:
        file.seek(end)
        return members, "broken header" if file.read(tarfile.BLOCKSIZE).strip(b"\0") else None


def _entries(members: Iterable[tarfile.TarInfo]) -> Iterator[Entry]:
    """Groups members into samples; a second image under one key begins a sample of its own."""
    key, spans = "", dict[str, Span]()
    for member in members:
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        stem, _, extension = name.partition(".")
        part = _PARTS.get("." + extension.lower().rpartition(".")[2])
        if part is None:
            continue
        next_key = f"{folder}/{stem}" if folder else stem
        if next_key != key or part in spans:
            yield from _entry(key, spans)
            key, spans = next_key, {}
        spans[part] = Span(member.offset_data, member.size)
    yield from _entry(key, spans)


def _entry(key: str, spans: dict[str, Span]) -> Iterator[Entry]:
    if "image" in spans:
        yield Entry(key, spans["image"], spans.get("label"))


_PARTS = {".cls": "label"} | dict.fromkeys(EXTENSIONS, "image")
