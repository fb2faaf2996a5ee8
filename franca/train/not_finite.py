"""Steps whose losses or gradients are not finite: counted, written down, and too many in a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from franca.distributed.together import gather, is_rank_zero
from franca.errors import DivergedError
from franca.train.left_out import LeftOut
from franca.train.loop import StepEvent

FILE_NAME = "not_finite.jsonl"
NUM_NAMED = 3


class RecordNotFinite:
    """Counts steps that were not applied, and names what they saw in ``not_finite.jsonl``.

    A line has the step, the losses and gradient norms that were not finite, the first and last position of the sample
    plan, and the keys of the samples. Lines stay when a run goes back: they tell what happened, not where it stands.

    Args:
        run: The run folder.
        say: Told where a line cannot be written.
    """

    def __init__(self, run: Path, say: Callable[[str], None]) -> None:
        self.path = run / FILE_NAME
        self.say = say

    def __call__(self, event: StepEvent) -> None:
        """Count the step; every rank must ask."""
        progress = event.progress
        if event.result.applied:
            progress.not_finite_in_a_row = 0
            return
        progress.not_finite_in_a_row += 1
        progress.count("steps_skipped")
        ranks = gather([(batch.positions.tolist(), batch.keys) for batch in event.micro_batches])
        batches = [batch for rank in ranks for batch in rank]
        positions = [position for found, _ in batches for position in found]
        line = {
            "step": event.step,
            "not_finite": _names(event),
            "positions": [min(positions), max(positions)],
            "keys": [key for _, keys in batches for key in keys],
        }
        if is_rank_zero():
            self._write(json.dumps(line))

    def _write(self, line: str) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:  # a full disk; training goes on, as it does where a checkpoint cannot be written
            self.say(f"alarm: {error}. It would have held: {line}")


def _names(event: StepEvent) -> list[str]:
    """The losses and gradient norms that are not finite."""
    result = event.result
    values = {f"loss/{name}": value for name, value in result.losses.parts.items()}
    values |= {f"grad_norm/{name}": value for name, value in result.norms.parts.items()}
    finite = torch.stack([value.float() for value in values.values()]).isfinite().tolist()
    return [name for name, is_finite in zip(values, finite, strict=True) if not is_finite]


class LimitNotFinite:
    """Ends a stretch of training when ``limit`` steps in a row were not applied.

    Args:
        limit: Steps.
        left_out: What the run leaves out already, because this has happened before.
        record: Where the steps are written down.
    """

    def __init__(self, limit: int, left_out: LeftOut, record: Path) -> None:
        self.limit = limit
        self.left_out = left_out
        self.record = record

    def __call__(self, event: StepEvent) -> None:
        """Judge the step.

        Raises:
            DivergedError: the limit is reached.
        """
        if event.progress.not_finite_in_a_row < self.limit:
            return
        again = ""
        if self.left_out.ranges:
            again = ", and the run had gone back to a checkpoint and left batches out once before"
        names = [key for batch in event.micro_batches for key in batch.keys[:NUM_NAMED]][:NUM_NAMED]
        raise DivergedError(
            f"The losses or gradients of {self.limit} steps in a row, up to step {event.step:,}, were not finite, so "
            f"none of them was applied{again}. {self.record} names their samples, such as {', '.join(names)}, and what "
            "was not finite. Look at the samples; go on with performance.precision=fp32; or begin another run with a "
            "lower optim.learning_rate or a longer optim.warmup_steps."
        )
