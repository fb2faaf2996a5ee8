"""What a run's data were when it began, so that the order of its samples stays the same.

The order follows from the number of samples in each shard. A run therefore goes on with the shards and counts that it
began with: a shard that is gone since then, or damaged, gives bad samples in its old place, and moves no other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from franca.data.cache_folder import write_atomically
from franca.data.folder import FolderSource
from franca.data.mixture import MixtureSource
from franca.data.sample import Source
from franca.data.webdataset import TarSource
from franca.errors import DataError

Record: TypeAlias = list[dict[str, Any]]  # one entry for each source of a mixture


def record_of(source: Source) -> Record:
    """What is kept of a source: its length, its shards with their counts, and a hash of its file names."""
    if isinstance(source, MixtureSource):
        return [entry for part in source.sources for entry in record_of(part)]
    entry: dict[str, Any] = {"location": source.location, "num_samples": len(source)}
    if isinstance(source, TarSource):
        entry["shards"] = list(zip(source.shard_names(), source.group_sizes, strict=True))
    if isinstance(source, FolderSource):
        entry["names"] = source.fingerprint
    return [entry]


def write_record(path: Path, source: Source) -> None:
    """Keeps the record of a source in a file."""
    write_atomically(path, [json.dumps(record_of(source)).encode()])


def read_record(path: Path) -> Record | None:
    """The record in a file, or None where there is none.

    Raises:
        DataError: There is one, but it cannot be read.
    """
    try:
        found: Record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}, which says what data the run began with: {error}.") from error
    return found


def differences(record: Record, source: Source) -> list[str]:
    """What has changed since the record was written, in sentences."""
    found = []
    for before, now in zip(record, record_of(source), strict=True):
        if (before["num_samples"], before.get("names")) != (now["num_samples"], now.get("names")):
            found.append(
                f"{now['location']} changed since the run began: {before['num_samples']:,} images then, "
                f"{now['num_samples']:,} now. In the pass that was under way some images may come twice or not at all."
            )
    return found
