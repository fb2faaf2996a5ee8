"""What a run folder remembers of its jobs: which were submitted, and when each started and ended.

jobs/1234.json           what was submitted
jobs/1234_submission.sh  the script
jobs/1234_0_log.out      what all ranks printed, and the script itself
jobs/events.txt          one line for every start and end, written by the scripts
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from franca.errors import DataError


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One submitted job, or an array."""

    job_id: str
    executor: str
    """``slurm`` or ``local``."""
    command: str
    submitted: str
    """UTC, ISO 8601."""
    host: str
    """Where it was submitted; a local job runs there."""
    trains: bool
    array: int = 0

    def write(self, jobs: Path) -> None:
        """Keep it in the folder of jobs."""
        (jobs / f"{self.job_id}.json").write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Event:
    """A start or an end of a job, as its script noted it."""

    time: str
    """UTC, ISO 8601."""
    job_id: str
    """With ``_N`` for an element of an array."""
    kind: str
    """``started``, ``ended``, ``requeued`` or ``unfinished``."""
    facts: dict[str, str]
    """``restart`` and ``nodes`` of a start, ``code`` of an end."""


def read_records(run: Path) -> list[JobRecord]:
    """The jobs of a run, oldest first.

    Raises:
        DataError: a record is damaged.
    """
    records = []
    for path in (run / "jobs").glob("*.json"):
        try:
            records.append(JobRecord(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} is damaged: {error}. Remove it; only the list of jobs is lost.") from None
    return sorted(records, key=lambda record: (record.submitted, record.job_id.zfill(20)))


def read_events(run: Path) -> list[Event]:
    """Starts and ends of all jobs of a run, oldest first."""
    path = run / "jobs" / "events.txt"
    return list(_parse(path.read_text(encoding="utf-8"))) if path.is_file() else []


def _parse(text: str) -> Iterator[Event]:
    for line in text.splitlines():
        if len(line.split()) < 3:  # cut off by a full disk
            continue
        time, job_id, kind, *rest = line.split()
        yield Event(time, job_id, kind.rstrip(":"), dict(word.split("=", 1) for word in rest if "=" in word))
