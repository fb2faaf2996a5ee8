"""A file of JSON lines, each about one step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path


class LineFile:
    """Lines with the key ``step``, which one process writes and a resumed run goes on with.

    Args:
        path: Of the file.
        writes: Whether this process is the one; all others write nothing and know of no lines.
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path = path
        self.writes = writes
        self._waiting = ""

    def cut(self, step: int) -> None:
        """Drop lines of steps after ``step``, also those that wait, and a last line that was cut off."""
        self._waiting = "".join(line for line in self._waiting.splitlines(keepends=True) if _step_of(line) <= step)
        if self.writes and self.path.exists():
            kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            write_text(self.path, "".join(line + "\n" for line in kept))

    def read(self) -> list[dict[str, float | None]]:
        """The lines so far."""
        if not self.writes or not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def append(self, record: Mapping[str, float]) -> None:
        """Add one line. What is not finite becomes null, since JSON has no NaN.

        Raises:
            OSError: the disk is full, or cannot be written for another reason. The line waits for the next one.
        """
        if not self.writes:
            return
        finite = {name: value if math.isfinite(value) else None for name, value in record.items()}
        self._waiting += json.dumps(finite, allow_nan=False) + "\n"
        length = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(self._waiting)
            self._waiting = ""
        except OSError:
            os.truncate(self.path, length)  # no half line, which the next one would continue
            raise


def _step_of(line: str) -> float:
    """The step of a line; a line that was cut off counts as later than any step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one move, so that a reader sees the old text or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
