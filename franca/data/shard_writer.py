"""Tar shards of bounded size, in a folder that appears when it is complete."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from webdataset import ShardWriter

from franca.data.findings import Bad, BadSamples
from franca.data.sample import BadSample
from franca.errors import ConfigError

Members: TypeAlias = dict[str, bytes]  # the files of one sample, by their ending


@dataclass(frozen=True)
class Packed:
    """What was written, and what was left out, by reason."""

    num_shards: int
    num_images: int
    num_bytes: int
    bad: Mapping[str, Bad]


class BoundedShards:
    """Shards of bounded size, one after the other, each with its counts beside it; use it as a context."""

    def __init__(self, folder: Path, *, max_bytes: int, max_images: int) -> None:
        self._max_bytes, self._max_images = max_bytes, max_images
        self._all_bad = BadSamples()
        self._totals = (0, 0, 0)  # shards, images, bytes
        self._start_shard()
        self._writer = ShardWriter(
            str(folder.absolute()).replace("%", "%%") + "/%06d.tar",
            maxcount=sys.maxsize,
            maxsize=math.inf,  # it counts only what is inside the files; we end shards ourselves
            post=self._finish_shard,
            verbose=0,
            encoder=False,
            mtime=0,  # the same images give the same shards; a fraction of a second would cost a header a file
        )

    def add(self, key: str, members: Members | BadSample) -> None:
        """Write one sample, or count why it is left out."""
        if isinstance(members, BadSample):
            self._bad.add(members.key, members.reason)
            self._all_bad.add(members.key, members.reason)
            return
        size = sum(_BLOCK + _whole(len(data), _BLOCK) for data in members.values())
        full = _whole(self._num_bytes + size + _END, _RECORD) > self._max_bytes
        if self._num_images and (full or self._num_images == self._max_images):
            self._writer.next_stream()
        self._writer.write({"__key__": key, **members})
        self._num_images += 1
        self._num_bytes += size

    def __enter__(self) -> BoundedShards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the last shard, also after an error: an open tar complains when it is forgotten."""
        with suppress(*[OSError] * (kind is not None)):
            self._writer.close()

    @property
    def packed(self) -> Packed:
        """What was written; complete when the context has ended."""
        return Packed(*self._totals, self._all_bad.by_reason())

    def _start_shard(self) -> None:
        self._num_images = self._num_bytes = 0
        self._bad = BadSamples()

    def _finish_shard(self, path: str) -> None:
        """Write the counts in the form that img2dataset has, so that nobody needs to read the shard to count it."""
        bad = {reason: found.count for reason, found in self._bad.by_reason().items()}
        stats = {
            "count": self._num_images + sum(bad.values()),
            "successes": self._num_images,
            "status_dict": {"success": self._num_images, **bad},
        }
        Path(path).with_name(f"{Path(path).stem}_stats.json").write_text(json.dumps(stats, indent=2) + "\n")
        shards, images, num_bytes = self._totals
        self._totals = (shards + 1, images + self._num_images, num_bytes + os.path.getsize(path))
        self._start_shard()


_BLOCK, _END, _RECORD = 512, 1024, 10240  # of a tar: its unit, its end, and what its size is rounded up to


def _whole(size: int, unit: int) -> int:
    """The size, rounded up to whole units."""
    return -(-size // unit) * unit


@contextmanager
def appears_when_complete(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` that becomes ``out`` at the end; what a killed process left in it is removed."""
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder. Give a new one: packing never adds to what is there.")
    unfinished = out.with_name(f".{out.name}.unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    with (unfinished / ".lock").open("w") as lock:
        _lock(lock.fileno(), out)
        try:
            for leftover in set(unfinished.iterdir()) - {Path(lock.name)}:
                leftover.unlink()
            yield unfinished
            os.unlink(lock.name)
            os.rename(unfinished, out)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def _lock(file: int, out: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"Another process is packing into {out}. Wait for it, or give another folder.") from None
    except OSError:  # a file system without locks
        return
