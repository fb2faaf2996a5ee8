"""Shards of which the last few used stay open, in each process on its own."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from franca.data.decode import UNREADABLE
from franca.data.open_files import is_too_many, soft_limit, too_many_open_files
from franca.data.openers import is_remote
from franca.data.packed import PackedStrings
from franca.data.shard_cache import ShardCache
from franca.data.shards import Shard
from franca.data.streams import FetchError
from franca.data.tar_index import ShardIndex, Span, index_shard, stamp_in
from franca.errors import DataError

MAX_OPEN = 256  # lanes take turns, so that one batch reads from a shard or two of each of 64 lanes

REPLACED = "replaced"  # by another file, between finding a sample in it and reading the sample

Result = TypeVar("Result")


class ShardError(Exception):
    """A shard cannot be read; ``reason`` is the slug by which its samples are counted."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class OpenShard:
    """A shard in use: its samples, and its file unless it is a copy that may be dropped at any time."""

    index: ShardIndex
    file: IO[bytes] | None


class OpenShards:
    """Reads from any of many shards.

    Args:
        shards: Paths and addresses.
        cache: Where shards that lie elsewhere are kept.
    """

    def __init__(self, shards: Sequence[Shard], cache: ShardCache) -> None:
        self._names = PackedStrings(map(str, shards))
        self._cache = cache
        self._open: OrderedDict[int, OpenShard] = OrderedDict()
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._names)

    def __getstate__(self) -> dict[str, object]:
        return {"_names": self._names, "_cache": self._cache, "_open": OrderedDict(), "_process": -1}

    def name(self, shard: int) -> str:
        """Path or address."""
        return self._names[shard]

    def short_name(self, shard: int) -> str:
        """The last part of path or address."""
        return self._names[shard].rpartition("/")[2]

    def opened(self, shard: int) -> OpenShard:
        """The shard, opened and indexed where it is not yet.

        Raises:
            ShardError: It cannot be.
            DataError: Too many files are open.
        """
        if self._process != os.getpid():  # a forked copy would share, and move, its parent's file positions
            self._open, self._process = OrderedDict(), os.getpid()
        if shard not in self._open:
            self._open[shard] = self._opened_anew(shard)
            self._keep(_max_open())
        self._open.move_to_end(shard)
        return self._open[shard]

    def read(self, shard: int, span: Span) -> bytes:
        """Bytes of a shard; fewer than asked for where it ends.

        Raises:
            ShardError: It cannot be opened.
            DataError: Too many files are open.
            OSError: It cannot be read.
        """
        opened, address = self.opened(shard), self._names[shard]
        if opened.file:
            return _read(opened.file, span)
        for _ in range(3):  # another process may drop the copy just before it is opened
            try:
                with self._retrying(lambda: _fetched(self._cache, address).open("rb", buffering=0), address) as copy:
                    if stamp_in(os.fstat(copy.fileno())) == opened.index.stamp:
                        return _read(copy, span)
            except FileNotFoundError:
                continue
            opened = self._opened_again(shard, opened.index)
        raise ShardError(UNREADABLE, f"{address}: its copy is dropped as soon as it is fetched")

    def _opened_again(self, shard: int, before: ShardIndex) -> OpenShard:
        """The shard with the index of its newest copy, which must say the same about its samples."""
        self._open.pop(shard, None)
        opened = self.opened(shard)
        if not opened.index.has_same_samples(before):
            raise ShardError(REPLACED, f"{self._names[shard]} was replaced while it was in use")
        return opened

    def _opened_anew(self, shard: int) -> OpenShard:
        name = self._names[shard]
        return self._retrying(lambda: _open(name, self._cache), name)

    def _retrying(self, use: Callable[[], Result], name: str) -> Result:
        """Use a shard; where too many files are open, close those not used for longest and do it once more."""
        for _ in range(2):
            try:
                return use()
            except (DataError, OSError, ShardError) as error:
                if not is_too_many(error):
                    raise
                self._keep(len(self._open) // 2)
                failure = error
        raise too_many_open_files(name) from failure

    def _keep(self, number: int) -> None:
        while len(self._open) > number:
            _close(self._open.popitem(last=False)[1])


def _max_open() -> int:
    """Shards that stay open: an index is a file too, and other parts of the process need some."""
    limit = soft_limit()
    return MAX_OPEN if limit is None else max(1, min(MAX_OPEN, limit // 4))


def _open(name: str, cache: ShardCache) -> OpenShard:
    try:
        if is_remote(name):
            return OpenShard(index_shard(_fetched(cache, name)), None)
        path = Path(name)
        return OpenShard(index_shard(path), path.open("rb", buffering=0))
    except (DataError, OSError) as error:
        raise ShardError(UNREADABLE, str(error)) from error


def _fetched(cache: ShardCache, address: str) -> Path:
    try:
        return cache.local(address)
    except FetchError as error:
        raise ShardError(error.reason, str(error)) from error


def _read(file: IO[bytes], span: Span) -> bytes:
    file.seek(span.offset)
    data = file.read(span.size)
    while 0 < len(data) < span.size and (more := file.read(span.size - len(data))):  # a file may give less at once
        data += more
    return data


def _close(shard: OpenShard) -> None:
    if shard.file:
        shard.file.close()
