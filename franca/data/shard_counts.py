"""How many samples each shard holds, found without reading the shards wherever somebody counted before.

In this order: ``00000_stats.json`` beside the tar, which img2dataset writes; ``sizes.json`` in its folder, which gives
a number for each name; the tar's index, where there is one; and last its headers, whose index is kept. What others
wrote goes first because it stays as it is: an index that appears later must not change the order of a run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from franca.data.cache_folder import cache_folder, write_atomically
from franca.data.open_files import is_too_many, too_many_open_files
from franca.data.openers import scheme_of
from franca.data.passed_over import PassedOver, total
from franca.data.shard_cache import ShardCache
from franca.data.shards import Shard
from franca.data.streams import FetchError
from franca.data.sweep import sweep
from franca.data.tar_index import cached_summary, index_shard
from franca.data.waiting import waiting_line
from franca.errors import DataError

_logger = logging.getLogger(__name__)

STATS_SUFFIX, SIZES = "_stats.json", "sizes.json"
_THREADS = 16
_SERIAL = 8  # up to so many tars are read in this process
_PROBES = 3

_NOTHING: PassedOver = {}


class Count(NamedTuple):
    """What is known of one shard."""

    num_samples: int
    problem: str | None = None  # with the shard
    passed_over: PassedOver = _NOTHING


class Counts(NamedTuple):
    """What is known of all shards."""

    num_samples: list[int]  # of each
    passed_over: PassedOver  # in all that were looked into, now or earlier


def count_samples(shards: Sequence[Shard], location: str, cache: ShardCache) -> Counts:
    """Samples of each shard, and the files that no sample uses.

    A shard that cannot be read counts as one sample, which nobody will be able to read either, so that it is counted
    as bad wherever bad samples are counted.

    Args:
        shards: Tars on this machine, and addresses.
        location: What the user wrote, for messages.
        cache: Where shards that lie elsewhere are kept.

    Raises:
        DataError: None of the shards can be read, or too many files are open.
    """
    here = [shard for shard in shards if isinstance(shard, Path)]
    elsewhere = [shard for shard in shards if isinstance(shard, str)]
    counts = dict[Shard, Count](_count_paths(here).items())
    counts.update(_count_addresses(elsewhere, cache).items())
    problems = [f"{shard}: {counts[shard].problem}" for shard in shards if counts[shard].problem]
    if problems and len(problems) == len(shards):
        raise DataError(f"None of the {len(shards):,} tars of {location} can be read. First: {problems[0]}")
    if problems:
        text = "%s of %s tars of %s cannot be read, and count as bad samples (first: %s)"
        _logger.warning(text, f"{len(problems):,}", f"{len(shards):,}", location, problems[0])
    passed_over = total(count.passed_over for count in counts.values() if count.passed_over)
    return Counts([counts[shard].num_samples for shard in shards], passed_over)


def _count_paths(paths: Sequence[Path]) -> dict[Path, Count]:
    folders = {folder: _Folder(folder) for folder in {path.parent for path in paths}}
    with ThreadPoolExecutor(_THREADS) as threads:  # these wait for the disk, not for the processor
        known = dict(zip(paths, threads.map(lambda path: _known(path, folders[path.parent]), paths), strict=True))
    unknown = [path for path, count in known.items() if count is None]
    workers = 0 if len(unknown) <= _SERIAL else min(_THREADS, os.cpu_count() or 1)
    with waiting_line(f"counting the samples of {len(unknown):,} tars, once", len(unknown)) as progress:
        found = list(sweep(_scanned, unknown, workers=workers, chunk=4, progress=progress))
    counts = {path: count for path, count in known.items() if count is not None}
    return counts | dict(zip(unknown, found, strict=True))


class _Folder:
    """The names in a folder, and what its ``sizes.json`` says."""

    def __init__(self, path: Path) -> None:
        try:
            self.names = frozenset(os.listdir(path))
        except OSError:
            self.names = frozenset()
        self.sizes = _sizes(_read_json(path / SIZES)) if SIZES in self.names else {}


def _known(path: Path, folder: _Folder) -> Count | None:
    """What is known without reading the tar; None where nothing is, or where there is no tar."""
    if path.name not in folder.names:
        return None
    stats = path.stem + STATS_SUFFIX
    if stats in folder.names and (number := _successes(_read_json(path.with_name(stats)))) is not None:
        return Count(number)
    if path.name in folder.sizes:
        return Count(folder.sizes[path.name])
    try:
        summary = cached_summary(path)
    except DataError:
        return None
    return summary and Count(summary.num_samples, None, summary.passed_over)


def _scanned(path: Path) -> Count:
    try:
        index = index_shard(path)
    except DataError as error:
        if is_too_many(error):
            raise too_many_open_files(str(path)) from error
        return Count(1, str(error))
    return Count(index.num_samples, None, index.passed_over)


def _count_addresses(addresses: Sequence[str], cache: ShardCache) -> dict[str, Count]:
    """Counts beside the shards, else what was counted before, else each shard is fetched once."""
    if not addresses:
        return {}
    kept = _kept_counts(addresses)
    known = _still_true(kept, cache) or _stated_counts(addresses, cache)
    unknown = [address for address in addresses if address not in known]
    found: list[Count] = []
    with (
        waiting_line(f"fetching {len(unknown):,} shards, to count their samples once", len(unknown)) as progress,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        for count in threads.map(partial(_fetched, cache), unknown):
            found.append(count)
            if progress:
                progress(len(found), len(unknown))
    counts = {address: Count(number) for address, number in known.items()} | dict(zip(unknown, found, strict=True))
    if not any(count.problem for count in counts.values()):
        numbers = {address: count.num_samples for address, count in counts.items()}
        with suppress(OSError):
            write_atomically(kept, [json.dumps(numbers).encode()])
    return counts


def _kept_counts(addresses: Sequence[str]) -> Path:
    name = hashlib.sha256("\n".join(addresses).encode()).hexdigest()[:32]
    return cache_folder() / "counts" / f"{name}.json"


def _still_true(kept: Path, cache: ShardCache) -> dict[str, int]:
    """The counts in a file, without those of shards that were replaced since."""
    counts = _sizes(_read_json(kept))
    written = kept.stat().st_mtime if counts else 0.0
    return {address: number for address, number in counts.items() if not cache.was_replaced(address, written)}


def _stated_counts(addresses: Sequence[str], cache: ShardCache) -> dict[str, int]:
    """What ``sizes.json`` and ``_stats.json`` beside the shards say; these are looked for beside a few shards first."""
    files = [address for address in addresses if scheme_of(address) != "pipe"]
    folders = {address.rpartition("/")[0] for address in files}
    sizes = {folder: _sizes(_fetch_json(f"{folder}/{SIZES}", cache)) for folder in folders}
    counts = {a: sizes[a.rpartition("/")[0]].get(a.rpartition("/")[2], -1) for a in files}
    known = {address: number for address, number in counts.items() if number >= 0}
    with_stats = [address for address in files if address not in known and address.endswith(".tar")]
    with ThreadPoolExecutor(_THREADS) as threads:
        for group in (with_stats[:_PROBES], with_stats[_PROBES:]):
            numbers = list(threads.map(lambda address: _successes(_fetch_json(_stats_of(address), cache)), group))
            found = {address: number for address, number in zip(group, numbers, strict=True) if number is not None}
            if not found:
                break
            known |= found
    return known


def _stats_of(address: str) -> str:
    return address.removesuffix(".tar") + STATS_SUFFIX


def _fetched(cache: ShardCache, address: str) -> Count:
    try:
        index = index_shard(cache.local(address))
    except (DataError, FetchError, OSError) as error:
        if is_too_many(error):
            raise too_many_open_files(address) from error
        return Count(1, str(error))
    return Count(index.num_samples, None, index.passed_over)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _fetch_json(address: str, cache: ShardCache) -> Any:
    try:
        return json.loads(cache.read(address))
    except (FetchError, ValueError):
        return None
    except OSError as error:
        if is_too_many(error):
            raise too_many_open_files(address) from error
        raise


def _successes(stats: Any) -> int | None:
    number = stats.get("successes") if isinstance(stats, Mapping) else None
    return number if isinstance(number, int) and number >= 0 else None


def _sizes(found: Any) -> dict[str, int]:
    if not isinstance(found, Mapping):
        return {}
    return {name: number for name, number in found.items() if isinstance(number, int) and number >= 0}
