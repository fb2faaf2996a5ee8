"""Reads the images of a source once each, and counts what is there and what is wrong."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from franca.data.decode import decode
from franca.data.findings import MAX_EXAMPLES, BadSamples, Findings, Repeats
from franca.data.index_all import look_over_shards
from franca.data.passed_over import PassedOver
from franca.data.permutation import Permutation
from franca.data.randomness import Ints, derive_key
from franca.data.sample import BadSample, EncodedSource, Source
from franca.data.sweep import Progress, sweep

Hashes: TypeAlias = NDArray[np.uint64]  # [n, words]

_MAX_SIDE_PX = 1 << 16  # larger ones are counted as this
_QUANTILES = {"min": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "max": 1.0}


def check_source(
    source: Source, *, sample: int | None = None, workers: int = 0, progress: Progress | None = None
) -> Findings:
    """Reads and decodes every image, or a fixed sample of them.

    Memory is bounded: 42 bytes an image while reading, 110 at the end, and a few examples of what is wrong.

    Args:
        source: What to check.
        sample: How many images to read, the same ones each time; None reads all.
        workers: Processes that read.
        progress: Called as images are read.
    """
    chosen = _chosen(len(source), sample)
    started = time.perf_counter()
    tally = _Tally(source, chosen)
    for look in sweep(partial(look_at, source), chosen, workers=workers, progress=progress):
        tally.add(look)
    seconds = time.perf_counter() - started
    damaged, passed_over = look_over_shards(source, np.unique(_shards_of(source, chosen)), workers=workers)
    return tally.findings(workers, seconds, damaged, passed_over)


@dataclass(frozen=True)
class Look:
    """What reading one sample showed."""

    key: str
    reason: str | None  # why it cannot be used; None where it can
    seconds: float  # that it took to read and decode
    num_bytes: int = 0
    height: int = 0
    width: int = 0
    label: int | None = None
    digest: bytes = b""  # of the file, or of the pixels where there is no file; 16 bytes


def look_at(source: Source, index: int) -> Look:
    """Reads one sample, and notes what it is or why it cannot be used."""
    started = time.perf_counter()
    try:
        if isinstance(source, EncodedSource):
            file = source.read_encoded(int(index))
            key, label, data, image = file.key, file.label, file.data, decode(file.data, file.key)
        else:
            made = source.read(int(index))
            key, label, data, image = made.key, made.label, made.image.numpy().tobytes(), made.image
    except BadSample as bad:
        return Look(bad.key, bad.reason, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    _, height, width = image.shape
    return Look(key, None, seconds, len(data), height, width, label, _digest(data, 16, height, width))


def _shards_of(source: Source, samples: Ints) -> Ints:
    return np.searchsorted(np.cumsum(source.group_sizes), samples, side="right")


def repeated_rows(hashes: Hashes) -> tuple[int, list[Ints]]:
    """Which rows equal each other.

    Args:
        hashes: [n, words].

    Returns:
        How many rows equal an earlier one, and the first few groups of equal rows, each in order.
    """
    order = np.lexsort(hashes.T)  # stable: equal rows keep their order
    equal = (hashes[order[1:]] == hashes[order[:-1]]).all(axis=1)
    starts = np.append(0, np.flatnonzero(~equal) + 1)
    ends = np.append(starts[1:], len(order))
    several = np.flatnonzero(ends - starts > 1)
    first = several[np.argsort(order[starts[several]])[:MAX_EXAMPLES]]
    return int(equal.sum()), [order[start:end] for start, end in zip(starts[first], ends[first], strict=True)]


class _Tally:
    """Counts looks, which come in the order of ``chosen``."""

    def __init__(self, source: Source, chosen: Ints) -> None:
        self._source, self._chosen = source, chosen
        self._shard = _shards_of(source, chosen)
        self._num_read = self._num_bytes = 0
        self._seconds = 0.0
        self._bad = BadSamples()
        self._classes = Counter[int]()
        self._widths, self._heights = np.zeros((2, _MAX_SIDE_PX + 1), np.int64)  # images of each width, each height
        self._contents: Hashes = np.zeros((len(chosen), 2), np.uint64)  # 0 where there is none
        self._keys: Hashes = np.zeros((len(chosen), 1), np.uint64)

    def add(self, look: Look) -> None:
        name = f"{self._shard[self._num_read]}/{look.key}".encode(errors="surrogateescape")
        self._keys[self._num_read] = np.frombuffer(_digest(name, 8), np.uint64)
        self._seconds += look.seconds
        if look.reason is None:
            self._add_image(look)
        else:
            self._bad.add(look.key, look.reason)
        self._num_read += 1

    def _add_image(self, look: Look) -> None:
        self._num_bytes += look.num_bytes
        self._contents[self._num_read] = np.frombuffer(look.digest, np.uint64)
        self._widths[min(look.width, _MAX_SIDE_PX)] += 1
        self._heights[min(look.height, _MAX_SIDE_PX)] += 1
        if look.label is not None:
            self._classes[look.label] += 1

    def findings(self, workers: int, seconds: float, damaged: Sequence[str], passed_over: PassedOver) -> Findings:
        names = self._source.class_names
        return Findings(
            location=self._source.location,
            num_shards=len(self._source.group_sizes),
            num_samples=len(self._source),
            num_read=self._num_read,
            num_bytes=self._num_bytes,
            width_px=_quantiles_of(np.arange(_MAX_SIDE_PX + 1), self._widths),
            height_px=_quantiles_of(np.arange(_MAX_SIDE_PX + 1), self._heights),
            samples_per_shard=_quantiles_of(self._source.group_sizes),
            images_per_class={name: self._classes[label] for label, name in enumerate(names)} if names else None,
            bad=self._bad.by_reason(),
            damaged_shards=damaged,
            passed_over=passed_over,
            duplicates=self._repeats(self._contents, np.flatnonzero(self._contents.any(axis=1))),
            duplicate_keys=self._repeats(self._keys, np.arange(self._num_read)),
            workers=workers,
            seconds=seconds,
            images_per_second_and_worker=self._num_read / max(self._seconds, 1e-9),
        )

    def _repeats(self, hashes: Hashes, rows: Ints) -> Repeats:
        count, groups = repeated_rows(hashes[rows])
        shown = [self._chosen[rows[group[:MAX_EXAMPLES]]] for group in groups]
        return Repeats(count, [[look_at(self._source, index).key for index in group] for group in shown])


def _chosen(num_samples: int, wanted: int | None) -> Ints:
    """The samples to read, in the order of the source, so that shards are read from front to back."""
    if wanted is None or wanted >= num_samples:
        return np.arange(num_samples)
    return np.sort(Permutation(num_samples, derive_key(num_samples))(np.arange(wanted)))


def _quantiles_of(values: ArrayLike, counts: ArrayLike = 1) -> dict[str, int]:
    """Quantiles of values of which each comes ``counts`` times."""
    order = np.argsort(values)
    values, counts = np.asarray(values)[order], np.broadcast_to(counts, order.shape)[order]
    below = np.cumsum(counts)
    if not below.size or not below[-1]:
        return {}
    ranks = {name: round(share * (int(below[-1]) - 1)) for name, share in _QUANTILES.items()}
    return {name: int(values[np.searchsorted(below, rank, side="right")]) for name, rank in ranks.items()}


def _digest(data: bytes, num_bytes: int, *more: object) -> bytes:
    digest = hashlib.blake2b(data, digest_size=num_bytes)
    digest.update(repr(more).encode())
    return digest.digest()
