"""Indexes all shards of a source ahead of time, so that no run has to wait for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from franca.data.openers import is_remote
from franca.data.passed_over import PassedOver, total
from franca.data.randomness import Ints
from franca.data.sample import Source
from franca.data.sweep import Progress, sweep
from franca.data.tar_index import cached_summary, index_places, index_shard
from franca.data.webdataset import TarSource
from franca.errors import DataError


@dataclass(frozen=True)
class IndexedShard:
    """What the index of one shard says."""

    path: Path
    num_samples: int = 0
    num_bytes: int = 0  # of the tar
    was_kept: bool = False  # the index lay there before, and holds
    index: Path | None = None  # where it lies; None where there is none
    problem: str | None = None
    passed_over: PassedOver = field(default_factory=dict)


def index_all(paths: Sequence[Path], *, workers: int = 0, progress: Progress | None = None) -> list[IndexedShard]:
    """Makes the index of every tar that has none, or an old one.

    Args:
        paths: Of the tars.
        workers: Processes that read them.
        progress: Called as they are read.
    """
    return list(sweep(_indexed, paths, workers=workers, chunk=1, progress=progress))


def look_over_shards(source: Source, shards: Ints, *, workers: int = 0) -> tuple[list[str], PassedOver]:
    """Tars on this machine that are broken, or hold more or fewer images than was counted; and files that nobody uses.

    Of shards that lie elsewhere, the latter are those that were found at the start.

    Args:
        source: Of any kind; only tars can be damaged as a whole.
        shards: Which of its shards are looked at.
        workers: Processes that read them.
    """
    if not isinstance(source, TarSource):
        return [], getattr(source, "passed_over", {})
    names = source.shard_names()
    counted = {Path(names[shard]): source.group_sizes[shard] for shard in shards if not is_remote(names[shard])}
    found = index_all(list(counted), workers=min(workers, len(counted)))
    problems = {shard.path: shard.problem or _miscounted(shard, counted[shard.path]) for shard in found}
    passed_over = total(shard.passed_over for shard in found) if found else source.passed_over
    return [f"{path}: {problem}" for path, problem in problems.items() if problem], passed_over


def _miscounted(shard: IndexedShard, counted: int) -> str | None:
    return None if shard.num_samples == counted else f"holds {shard.num_samples:,} images, but {counted:,} were counted"


def _indexed(path: Path) -> IndexedShard:
    try:
        was_kept = cached_summary(path) is not None
        index = index_shard(path)
        num_bytes = os.path.getsize(path)
    except (DataError, OSError) as error:
        return IndexedShard(path, problem=str(error))
    place = next((place for place in index_places(path) if place.exists()), None)
    return IndexedShard(path, len(index), num_bytes, was_kept, place, index.damage, index.passed_over)
