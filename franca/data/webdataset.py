"""Images in tar shards, the WebDataset layout; any sample can be read on its own."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from franca.data.decode import EXTENSIONS, TRUNCATED, UNREADABLE, decode
from franca.data.packed import PackedStrings
from franca.data.sample import BadSample, Sample
from franca.data.tar_index import Entry, Span, index_shard
from franca.data.tar_labels import tar_labels
from franca.errors import DataError

_logger = logging.getLogger(__name__)


class TarSource:
    """Samples of tar shards, shard by shard in the order given.

    A label is what the sample's ``.cls`` member says; where no sample has one, each tar is a class, as in
    ImageNet-21K's release of one tar per synset.

    Args:
        paths: The shards.
        location: What the user wrote to name them.
        labels: Look for labels; needed only to evaluate.

    Raises:
        DataError: A shard cannot be opened, none holds an image, or there are no labels although asked for.
    """

    kind = "tar"

    def __init__(self, paths: Sequence[Path], location: str, *, labels: bool = False) -> None:
        shards = _index(paths)
        if not shards:
            raise DataError(
                f"No image in the {len(paths):,} tars of {location} (first: {paths[0]}): "
                f"looked for members that end in {', '.join(EXTENSIONS)}."
            )
        entries = [entry for found in shards.values() for entry in found]
        self.location = location
        self.group_sizes = tuple(len(found) for found in shards.values())
        self.class_names: tuple[str, ...] | None = None
        self._labels: NDArray[np.int64] | None = None
        if labels:
            self.class_names, self._labels = tar_labels(shards, location)
        self._files = _ShardFiles(list(shards))
        self._ends = np.array(list(accumulate(self.group_sizes)))
        self._keys = PackedStrings(f"{path.name}/{entry.key}" for path, found in shards.items() for entry in found)
        self._offsets = np.array([entry.image.offset for entry in entries])
        self._sizes = np.array([entry.image.size for entry in entries])

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, index: int) -> Sample:
        """Reads and decodes one image; its key is the name of the tar and the key within it."""
        key = self._keys[index]
        shard = int(np.searchsorted(self._ends, index, side="right"))
        span = Span(int(self._offsets[index]), int(self._sizes[index]))
        try:
            data = self._files.read(shard, span)
        except OSError as error:
            raise BadSample(key, UNREADABLE) from error
        if len(data) < span.size:
            raise BadSample(key, TRUNCATED)
        label = None if self._labels is None else int(self._labels[index])
        return Sample(key, decode(data, key), label)


class _ShardFiles:
    """Shards of which the last few used stay open, in each process on its own."""

    MAX_OPEN = 32

    def __init__(self, paths: list[Path]) -> None:
        self._paths = PackedStrings(map(str, paths))
        self._open: OrderedDict[int, IO[bytes]] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        return {"_paths": self._paths, "_open": OrderedDict(), "_process": -1}

    def read(self, shard: int, span: Span) -> bytes:
        file = self._opened(shard)
        file.seek(span.offset)
        return file.read(span.size)

    def _opened(self, shard: int) -> IO[bytes]:
        if self._process != os.getpid():  # a forked copy would share, and move, its parent's file positions
            self._open, self._process = OrderedDict(), os.getpid()
        if shard not in self._open:
            self._open[shard] = Path(self._paths[shard]).open("rb", buffering=0)  # noqa: SIM115 - stays open
            if len(self._open) > self.MAX_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(shard)
        return self._open[shard]


def _index(paths: Sequence[Path]) -> dict[Path, list[Entry]]:
    """The samples of each shard that has any; damage is reported, and what lies before it kept."""
    shards = {}
    for path in paths:
        index = index_shard(path)
        if index.damage:
            _logger.warning("%s: %s; %d samples before that are kept", path, index.damage, len(index.entries))
        if index.entries:
            shards[path] = index.entries
    return shards
