"""Reads a run's metrics."""

from __future__ import annotations

import json
from pathlib import Path

from franca.errors import DataError

Record = dict[str, float]
NEEDED = {"step", "images", "loss/total", "images_per_second", "data_wait_fraction"}


def read_metrics(run: Path) -> list[Record]:
    """The lines of ``run/metrics.jsonl``, in order.

    Raises:
        DataError: there is no such file, it holds no line, or a line other than the last is damaged.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        raise DataError(f"{run} is no run folder with metrics: {path} is missing")
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or not record.keys() >= NEEDED:
                raise DataError(f"{path}, line {number} lacks some of {', '.join(sorted(NEEDED))}")
            records.append(record)
        except json.JSONDecodeError as error:
            if number < len(lines):  # a run that is being written, or was killed, may end on half a line
                raise DataError(f"{path}, line {number} is not JSON: {error}") from error
    if not records:
        raise DataError(f"{path} holds no metrics yet: the run has not logged a step")
    return records
