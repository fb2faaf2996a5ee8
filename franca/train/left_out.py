"""Which global batch of the sample plan a step sees, in a run that leaves some out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from franca.errors import CheckpointError
from franca.train.line_file import write_text

FILE_NAME = "left_out.json"


@dataclass(frozen=True)
class LeftOut:
    """Ranges of global batches that no step sees.

    Batch b holds the positions from ``b * global_batch`` on. Step s, counted from 0, sees the s-th of the batches that
    are not left out: a pure function of s and the ranges. Schedules go by the step and do not notice; a step from
    before a range sees what it always did, so a range can be added while a run goes on.
    """

    ranges: tuple[tuple[int, int], ...] = ()
    """First batch left out and the one after the last, in order."""

    @property
    def num_batches(self) -> int:
        """How many are left out."""
        return sum(end - first for first, end in self.ranges)

    def batch_of(self, step: int) -> int:
        """The batch that a step sees."""
        batch = step
        for first, end in self.ranges:
            if batch >= first:
                batch += end - first
        return batch

    def index_of(self, index: int, accumulation: int) -> int:
        """The same for a rank's ``index``-th micro-batch, of which a step takes ``accumulation``."""
        step, part = divmod(index, accumulation)
        return self.batch_of(step) * accumulation + part

    def write(self, run: Path) -> None:
        """Keep the ranges in the run folder, where every later start finds them."""
        write_text(run / FILE_NAME, json.dumps({"batches": self.ranges}) + "\n")

    @classmethod
    def read(cls, run: Path) -> LeftOut:
        """What the run in this folder leaves out; nothing where it says nothing.

        Raises:
            CheckpointError: the file cannot be read.
        """
        path = run / FILE_NAME
        if not path.exists():
            return cls()
        try:
            return cls(tuple((int(first), int(end)) for first, end in json.loads(path.read_text())["batches"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{path}, which says what batches this run leaves out, cannot be read: {error}. Restore it from a "
                "backup, or start anew with --fresh."
            ) from error
