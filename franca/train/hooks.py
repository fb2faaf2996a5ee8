"""What happens between steps: counting, logging, checkpoints."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from franca.errors import DivergedError, TooManyBadSamples
from franca.train import checkpoint
from franca.train.loop import StepEvent
from franca.train.run_folder import RunFolder
from franca.train.saver import Saver


class CountSamples:
    """Counts images, and samples that could not be used by reason, over the whole run.

    ``bad_places`` counts the latter by shard, or by folder, since this start.
    """

    def __init__(self) -> None:
        self.bad_places = Counter[str]()

    def __call__(self, event: StepEvent) -> None:
        """Count this step's samples."""
        progress = event.progress
        progress.count("images", event.num_images)
        for skipped in event.skipped:
            progress.count("data/skipped")
            progress.count(f"data/skipped/{skipped.reason}")
            if place := skipped.place:
                self.bad_places[place] += 1


class LimitBadSamples:
    """Stops the run when too many samples cannot be used.

    Args:
        max_fraction: Largest share of unusable samples, in [0, 1].
        judge_after: Until so many are read, as many bad ones pass as would among these, so that one bad file among
            the first ten does not stop a run.
    """

    def __init__(self, max_fraction: float, *, judge_after: int = 256) -> None:
        self.max_fraction = max_fraction
        self.judge_after = judge_after
        self.examples: deque[str] = deque(maxlen=5)

    def __call__(self, event: StepEvent) -> None:
        """Judge the run so far.

        Raises:
            TooManyBadSamples: the share is above the limit.
        """
        self.examples.extend(f"{skipped.key} ({skipped.reason})" for skipped in event.skipped)
        counts = event.progress.counts
        bad = counts.get("data/skipped", 0)
        read = counts["images"] + bad
        if bad > self.max_fraction * max(read, self.judge_after):
            reasons = [f"{name} {number:,}" for name, number in skipped_by_reason(counts).items()]
            raise TooManyBadSamples(
                f"{bad:,} of {read:,} samples could not be read ({', '.join(reasons)}), more than "
                f"data.max_bad_fraction={self.max_fraction:g} allows. The last ones: {', '.join(self.examples)}. "
                "Repair or remove them, or raise the limit."
            )


def skipped_by_reason(counts: Mapping[str, int]) -> dict[str, int]:
    """Samples that could not be used, by reason, of the counts of a run."""
    prefix = "data/skipped/"
    return {name.removeprefix(prefix): number for name, number in counts.items() if name.startswith(prefix)}


class LimitSkippedSteps:
    """Stops a run when ``limit`` steps in a row were not finite, so that it does not go to its end unchanged."""

    def __init__(self, limit: int = 50) -> None:
        self.limit = limit
        self.in_a_row = 0

    def __call__(self, event: StepEvent) -> None:
        """Judge the step.

        Raises:
            DivergedError: the limit is reached.
        """
        self.in_a_row = 0 if event.result.applied else self.in_a_row + 1
        if self.in_a_row >= self.limit:
            raise DivergedError(
                f"The losses or gradients of {self.limit} steps in a row, up to step {event.step}, were not finite, so "
                "none of them was applied. Lower optim.learning_rate, lengthen optim.warmup_steps, or set "
                "performance.precision=fp32."
            )


class LogMetrics:
    """Writes one line of metrics.jsonl every ``every_steps`` steps and hands it to a display.

    Losses, norms and rates are those of the step itself; speed and waiting are means since the last line.
    """

    def __init__(
        self, folder: RunFolder, *, every_steps: int, show: Callable[[StepEvent, Mapping[str, float]], None]
    ) -> None:
        self.folder = folder
        self.every_steps = every_steps
        self.show = show
        self._restart()

    def _restart(self) -> None:
        self._images, self._seconds, self._waited = 0, 0.0, 0.0

    def __call__(self, event: StepEvent) -> None:
        """Count the step; write a line where one is due."""
        if not event.result.applied:
            event.progress.count("steps_skipped")
        self._images += event.num_images
        self._seconds += event.seconds
        self._waited += event.waited_seconds
        if event.step % self.every_steps and not event.is_last:
            return
        record = step_metrics(event) | {
            "images_per_second": self._images / self._seconds,
            "data_wait_fraction": self._waited / self._seconds,
        }
        self.folder.append_metrics(record)
        self.show(event, record)
        self._restart()


def step_metrics(event: StepEvent) -> dict[str, Any]:
    """The step's losses, gradient norms, rates and the run's counts, by name."""
    losses, norms, rates = event.result.losses, event.result.norms, event.rates
    values = {"loss/total": losses.total}
    values |= {f"loss/{name}": value for name, value in losses.parts.items()}
    values |= {f"grad_norm/{name}": value for name, value in norms.parts.items()}
    numbers = torch.stack([value.float() for value in values.values()]).tolist()  # one transfer from the device
    return {
        "step": event.step,
        **dict(zip(values, numbers, strict=True)),
        "learning_rate": rates.learning_rate,
        "weight_decay": rates.weight_decay,
        "teacher_momentum": rates.teacher_momentum,
        "teacher_temperature": rates.teacher_temperature,
        **event.progress.counts,
    }


class SaveCheckpoints:
    """Saves a checkpoint and exports the teacher every ``every_steps`` steps and at the end.

    Args:
        saver: Writes checkpoints in the background; the last one is waited for.
        export: Writes the teacher's backbone to a path, given the step.
        export_every_steps: Teachers at multiples of this are kept for good; None keeps only the newest.
        say: Told, for every checkpoint, how long the run stood still for it.
    """

    def __init__(
        self,
        folder: RunFolder,
        saver: Saver,
        *,
        every_steps: int,
        export: Callable[[Path, int], None],
        export_every_steps: int | None,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.saver = saver
        self.every_steps = every_steps
        self.export = export
        self.export_every_steps = export_every_steps
        self.say = say

    def __call__(self, event: StepEvent) -> None:
        """Save and export where it is due."""
        if self.export_every_steps and event.step % self.export_every_steps == 0:
            self.export(self.folder.exports / f"teacher_{checkpoint.step_name(event.step)}.safetensors", event.step)
        if event.step % self.every_steps and not event.is_last:
            return
        started = time.perf_counter()
        self.saver.save(event.progress)
        saved = time.perf_counter()
        self.export(self.folder.exports / "teacher.safetensors", event.step)
        if event.is_last:
            self.saver.wait()
        self.say(
            f"checkpoint of step {event.step}: stood still for {saved - started:.2f} s to copy the state and "
            f"{time.perf_counter() - saved:.2f} s to export the teacher"
            + (" and finish writing" if event.is_last else "")
        )
