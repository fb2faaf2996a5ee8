"""``franca logs RUN [-f]``: what the ranks of a run's jobs say, as one stream."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from franca.errors import DataError
from franca.launch.logs import LogFile, follow, log_paths, readable
from franca.launch.record import JobRecord, read_records
from franca.launch.status import is_active

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_QUESTIONS = 10.0
"""The queue is asked rarely: on a large cluster each question is work for the controller."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and how much of its logs."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as lines come, until the job has ended")
    parser.add_argument("--job", metavar="ID", help="only this job; without it all, or with -f the newest")


def run(args: argparse.Namespace) -> int:
    """Print the logs of a run's jobs."""
    records = _records(args.run, args.job)
    if args.follow:
        _follow(args.run, records[-1])
        return 0
    for record in records:
        if len(records) > 1:
            print(f"---- job {record.job_id}, submitted {record.submitted} ----")
        for file in _files(args.run, record):
            for line in readable(file.read()):
                print(line)
    return 0


def _records(run: Path, job_id: str | None) -> list[JobRecord]:
    """The chosen jobs of a run.

    Raises:
        DataError: it has no jobs, or not this one.
    """
    records = read_records(run)
    if not records:
        raise DataError(f"{run} has no jobs: nothing was submitted into it with franca submit")
    chosen = [record for record in records if job_id in (None, record.job_id)]
    if not chosen:
        raise DataError(f"{run} has no job {job_id}; it has {', '.join(record.job_id for record in records)}")
    return chosen


def _files(run: Path, record: JobRecord) -> list[LogFile]:
    return [LogFile(path, labelled=record.executor == "slurm") for path in log_paths(run, record.job_id)]


def _follow(run: Path, record: JobRecord) -> None:
    """Print lines as they come, until the job has ended or Ctrl-C."""
    known: dict[Path, LogFile] = {}
    asked, active = time.monotonic(), is_active(record)

    def files() -> list[LogFile]:
        for file in _files(run, record):
            known.setdefault(file.path, file)
        return list(known.values())

    def wait() -> bool:
        nonlocal asked, active
        if active:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            if time.monotonic() - asked > SECONDS_BETWEEN_QUESTIONS:
                asked, active = time.monotonic(), is_active(record)
        return active

    follow(files, lambda line: print(line, flush=True), wait)
