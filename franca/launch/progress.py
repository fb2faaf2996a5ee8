"""How far a run is, from its folder alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from franca.errors import DataError
from franca.train.alarms import ALARMS

_TAIL_BYTES = 2**18
_COUNTS = {
    "steps_skipped": "{} steps not finite, not applied",
    "batches_left_out": "{} batches left out, after going back to a checkpoint",
    "data/skipped": "{} unreadable samples replaced",
    "saves_failed": "{} checkpoints or teachers not written",
}
"""Counts of metrics.jsonl that should not grow, and what it means when one did."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the newest lines of ``metrics.jsonl`` say."""

    step: int
    num_steps: int
    images_per_second: float | None = None
    """None before the first logging step."""
    seconds_to_go: float | None = None
    alarm: str = ""
    """The last thing that went wrong, with the step of the log at which it showed; empty where nothing did."""

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.num_steps


def read_progress(run: Path) -> Progress:
    """How far the run in this folder is.

    Raises:
        DataError: the folder holds no run, or its configuration is damaged.
    """
    if not (run / "config.yaml").is_file():
        raise DataError(f"{run} is no run folder: it has no config.yaml")
    num_steps, global_batch = _size(run / "config.yaml")
    records = list(_newest_records(run / "metrics.jsonl"))
    if not records:
        return Progress(step=0, num_steps=num_steps)
    newest = records[-1]
    step, speed = int(newest["step"]), float(newest["images_per_second"])
    return Progress(
        step=step,
        num_steps=num_steps,
        images_per_second=speed,
        seconds_to_go=(num_steps - step) * global_batch / speed,
        alarm=_last_alarm(records),
    )


def _size(config: Path) -> tuple[int, int]:
    """Steps of a run, and images of a step; options that another version of franca knew do no harm here."""
    try:
        train = yaml.safe_load(config.read_text(encoding="utf-8"))["train"]
        return int(train["steps"]), int(train["global_batch"])
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{config} is damaged, or was not written by a run: {error!r}") from None


def _newest_records(path: Path) -> Iterator[dict[str, Any]]:
    """The last lines of a file that may be long, and may be being written."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        start = max(0, path.stat().st_size - _TAIL_BYTES)
        file.seek(start)
        lines = file.read().splitlines()
    for line in lines[start > 0 :]:  # the first one may be cut
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def _last_alarm(records: list[dict[str, Any]]) -> str:
    """What went wrong last: a count that grew, or an alarm that began to ring.

    An alarm that is over says so. What a tail begins with shows as news of its first line.
    """
    found, ringing, before = "", "", dict[str, Any]()
    for record in records:
        step = f"step {record['step']:,}"
        for name, text in _COUNTS.items():
            count = record.get(name, 0)
            if count > before.get(name, 0):
                found, ringing = f"{step}: {text.format(f'{count:,}')}", ""
        for alarm in ALARMS:
            if alarm.key in record and alarm.key not in before:
                found, ringing = f"step {record[alarm.key]:,}: {alarm.what} ({alarm.name})", alarm.key
        if ringing and ringing not in record:
            found, ringing = f"{found}, over at {step}", ""
        before = record
    return found
