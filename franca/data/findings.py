"""What a check of a source found: as lines to read and as JSON to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from franca.data.passed_over import PassedOver, in_words

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Bad:
    """Samples that cannot be used for one reason."""

    count: int
    examples: Sequence[str]  # keys

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.examples) else ""
        return f"{', '.join(self.examples)}{more}"


class BadSamples:
    """Counts bad samples by reason, and keeps the first few keys of each."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._examples: dict[str, list[str]] = {}

    def add(self, key: str, reason: str) -> None:
        """Count one."""
        self._counts[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(key)

    def by_reason(self) -> dict[str, Bad]:
        """What was counted, the most frequent reason first."""
        return {reason: Bad(count, self._examples[reason]) for reason, count in self._counts.most_common()}


@dataclass(frozen=True)
class Repeats:
    """Samples that equal an earlier one."""

    count: int
    examples: Sequence[Sequence[str]]  # keys of some groups of equals


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a check found. Sizes are given by their quantiles, from ``min`` to ``max``."""

    location: str
    num_shards: int
    num_samples: int
    num_read: int
    num_bytes: int  # of the images that are fine
    width_px: Mapping[str, int]  # of upright images
    height_px: Mapping[str, int]
    samples_per_shard: Mapping[str, int]
    images_per_class: Mapping[str, int] | None
    bad: Mapping[str, Bad]  # by reason, the most frequent first
    damaged_shards: Sequence[str]  # path and what is wrong
    passed_over: PassedOver  # files that no sample uses, by kind
    duplicates: Repeats  # by content
    duplicate_keys: Repeats  # within a shard
    workers: int
    seconds: float
    images_per_second_and_worker: float  # read and decoded

    @property
    def num_bad(self) -> int:
        """Samples that cannot be used."""
        return sum(bad.count for bad in self.bad.values())

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong; equal images, which only come more often, and other files are not wrong."""
        return not (self.num_bad or self.damaged_shards or self.duplicate_keys.count)

    @property
    def images_per_second(self) -> float:
        """Images that all workers together read and decoded."""
        return self.num_read / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """The findings as plain JSON types."""
        rates = {"images_per_second": self.images_per_second}
        return {"is_clean": self.is_clean, "num_bad": self.num_bad, **asdict(self), **rates}

    def lines(self) -> Iterator[tuple[str, str]]:
        """The findings as pairs of a name and a text; the name is empty where a text goes on."""
        yield "read", f"{self.num_read:,} of {self.num_samples:,} images, {_bytes(self.num_bytes)}"
        if self.num_read > self.num_bad:
            yield "width, px", _quantiles(self.width_px)
            yield "height, px", _quantiles(self.height_px)
            yield "an image", _bytes(self.num_bytes / (self.num_read - self.num_bad))
        if self.num_shards > 1:
            yield "images a shard", _quantiles(self.samples_per_shard)
        if self.images_per_class:
            yield "images a class", _classes(self.images_per_class)
        yield (
            "speed",
            f"{self.images_per_second_and_worker:,.0f} images/s read and decoded by a process, "
            f"{self.images_per_second:,.0f} by {_count(max(self.workers, 1), 'process', 'processes')}",
        )
        yield "equal images", _repeats(self.duplicates)
        yield "equal keys", _repeats(self.duplicate_keys)
        yield "other files", f"passed over: {in_words(self.passed_over)}" if self.passed_over else "none"
        yield "bad", f"{self.num_bad:,} ({self.num_bad / max(self.num_read, 1):.2%})" if self.bad else "none"
        for reason, bad in self.bad.items():
            yield "", f"{bad.count:,} {reason}: {bad}"
        for shard in self.damaged_shards:
            yield "damaged shard", shard


def _quantiles(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def _classes(images: Mapping[str, int]) -> str:
    fewest, most = min(images, key=images.__getitem__), max(images, key=images.__getitem__)
    return (
        f"{_count(len(images), 'class', 'classes')}, {images[fewest]:,} ({fewest}) to {images[most]:,} ({most}) images"
    )


def _repeats(repeats: Repeats) -> str:
    if not repeats.count:
        return "none"
    shown = "; ".join(" = ".join(group) for group in repeats.examples)
    return f"{repeats.count:,} repeat another: {shown}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _bytes(number: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} bytes"
