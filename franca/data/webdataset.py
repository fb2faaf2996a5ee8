"""Images in tar shards, the WebDataset layout; any sample can be read on its own."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from franca.data.decode import EXTENSIONS, TRUNCATED, UNREADABLE, decode
from franca.data.folder import stamp_of
from franca.data.open_shards import OpenShard, OpenShards, ShardError
from franca.data.openers import is_remote
from franca.data.passed_over import in_words
from franca.data.sample import BadSample, Encoded, Sample
from franca.data.shard_cache import RemoteSettings, ShardCache
from franca.data.shard_counts import STATS_SUFFIX, count_samples
from franca.data.shards import Shard
from franca.data.tar_index import CAPTION, IMAGE, JSON
from franca.data.tar_labels import are_synsets, tar_labels
from franca.errors import DataError

_logger = logging.getLogger(__name__)

DAMAGED_SHARD = "damaged_shard"  # stands for what lay behind the damage
MISSING = "missing"  # counted beside the shard, but not in it
EXTRAS = (CAPTION, JSON)


class TarSource:
    """Samples of tar shards, shard by shard in the order given.

    Counts are found at the start, offsets when a shard is first opened. A label is what the sample's ``.cls`` member
    says; where no sample has one, each tar is a class, as in ImageNet-21K's release of one tar per synset.

    ``passed_over`` counts the files that no sample uses, in the shards that were looked into to count them.

    Args:
        shards: The tars: paths, and addresses of what lies elsewhere.
        location: What the user wrote to name them.
        labels: Look for labels; needed only to evaluate, and then every shard is read at the start.
        extras: What rides along with an image, of ``caption`` (``.txt``) and ``json``.
        remote: How shards that lie elsewhere are fetched and kept.
        counts: Samples of each shard, where they are known; they are not looked for then.

    Raises:
        DataError: No shard can be opened, none holds an image, or there are no labels although asked for.
    """

    kind = "tar"

    def __init__(
        self,
        shards: Sequence[Shard],
        location: str,
        *,
        labels: bool = False,
        extras: Collection[str] = (),
        remote: RemoteSettings | None = None,
        counts: Sequence[int] | None = None,
    ) -> None:
        cache = ShardCache(remote or RemoteSettings())
        cache.forget_failures()
        if counts is None:
            found, self.passed_over = count_samples(shards, location, cache)
        else:
            found, self.passed_over = list(counts), {}
        # A shard without samples has no place in the order.
        shards, sizes = [s for s, n in zip(shards, found, strict=True) if n], [n for n in found if n]
        if not shards:
            raise DataError(
                f"No image in the {len(found):,} tars of {location}: looked for members that end in "
                f"{', '.join(EXTENSIONS)}."
            )
        self.location = location
        self.group_sizes = tuple(sizes)
        self.is_remote = any(isinstance(shard, str) for shard in shards)
        self.class_names: tuple[str, ...] | None = None
        self._shards = OpenShards(shards, cache)
        self._ends = np.cumsum(sizes)
        self._extras = tuple(part for part in EXTRAS if part in extras)
        self._warned = set[int]()
        self._told = bool(self.passed_over)  # `sources.describe` says so at the start
        if labels:
            self.class_names, self._labels = tar_labels(self._shards, self.group_sizes, location)

    @classmethod
    def of_counts(
        cls, counts: Sequence[tuple[str, int]], location: str, *, remote: RemoteSettings | None = None
    ) -> TarSource:
        """Shards whose counts are known: name and samples of each. Some may be gone.

        Raises:
            DataError: All of them are.
        """
        if not any(is_remote(name) or os.path.exists(name) for name, _ in counts):
            raise DataError(f"None of the {len(counts):,} tars of {location} exists any more (first: {counts[0][0]}).")
        shards = [name if is_remote(name) else Path(name) for name, _ in counts]
        return cls(shards, location, remote=remote, counts=[number for _, number in counts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Of every image, which need not be read for it, -1 where a shard is damaged; None where they were not asked
        for."""
        return None if self.class_names is None else self._labels

    @property
    def layout(self) -> list[str]:
        """What is special about the shards, in words."""
        first = self._shards.name(0)
        words = ["remote"] * self.is_remote
        if not self.is_remote and os.path.exists(os.path.splitext(first)[0] + STATS_SUFFIX):
            words.append("img2dataset")
        if are_synsets([self._shards.short_name(shard) for shard in range(len(self._shards))]):
            words.append("one tar a synset")
        return words

    def shard_names(self) -> list[str]:
        """Paths and addresses of the shards, one for each of ``group_sizes``."""
        return [self._shards.name(shard) for shard in range(len(self.group_sizes))]

    def content(self) -> str:
        """Text that changes with any tar here; of one that lies elsewhere, with its address or number of images."""
        lines = [
            f"{name} {count} {'' if is_remote(name) else stamp_of(name)} {self.class_names}"
            for name, count in zip(self.shard_names(), self.group_sizes, strict=True)
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self, index: int) -> Sample:
        """Reads and decodes one image; its key is the name of the tar and the key within it."""
        file = self.read_encoded(index)
        return Sample(file.key, decode(file.data, file.key), file.label, caption=file.caption, json=file.json)

    def read_encoded(self, index: int) -> Encoded:
        """Reads one image file."""
        shard, number, opened = self._locate(index)
        key = f"{self._shards.short_name(shard)}/{opened.index.keys[number]}"
        data = self._read_part(shard, opened, number, IMAGE, key)
        label = None if self.class_names is None else int(self._labels[index])
        return Encoded(key, data or b"", label, **self._read_extras(shard, opened, number, key))

    def _locate(self, index: int) -> tuple[int, int, OpenShard]:
        """Shard, number within it, and the open shard of a sample."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        number = index - int(self._ends[shard]) + self.group_sizes[shard]
        name = f"{self._shards.short_name(shard)}/#{number}"  # it has no key until the shard is open
        try:
            opened = self._shards.opened(shard)
        except ShardError as error:
            raise BadSample(name, error.reason) from error
        self._compare(shard, opened)
        if number >= len(opened.index):
            raise BadSample(name, DAMAGED_SHARD if opened.index.damage else MISSING)
        return shard, number, opened

    def _compare(self, shard: int, opened: OpenShard) -> None:
        """Say so, once in each process, when a shard is not as it was counted, or holds what nobody uses."""
        stated, index = self.group_sizes[shard], opened.index
        if index.passed_over and not self._told:
            self._told = True
            text = "%s holds files that no sample uses: %s; other shards may, too"
            _logger.warning(text, self._shards.name(shard), in_words(index.passed_over))
        if (stated == len(index) and not index.damage) or shard in self._warned:
            return
        self._warned.add(shard)
        if index.damage:
            _logger.warning("%s: %s; %d samples before that", self._shards.name(shard), index.damage, len(index))
        elif stated != len(index):
            text = "%s holds %d samples, not %d as was counted; what is missing is bad, what is more is not used"
            _logger.warning(text, self._shards.name(shard), len(index), stated)

    def _read_part(self, shard: int, opened: OpenShard, number: int, part: str, key: str) -> bytes | None:
        span = opened.index.span(part, number)
        if span is None:
            return None
        try:
            data = self._shards.read(shard, span)
        except ShardError as error:
            raise BadSample(key, error.reason) from error
        except OSError as error:
            raise BadSample(key, UNREADABLE) from error
        if len(data) < span.size:
            raise BadSample(key, TRUNCATED)
        return data

    def _read_extras(self, shard: int, opened: OpenShard, number: int, key: str) -> dict[str, Any]:
        """Caption and JSON of a sample, where asked for; None where it has none or they cannot be understood."""
        parts = {part: self._read_part(shard, opened, number, part, key) for part in self._extras}
        return {part: None if data is None else _TEXT[part](data) for part, data in parts.items()}


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


_TEXT = {CAPTION: lambda data: data.decode("utf-8", errors="replace"), JSON: _parse_json}
