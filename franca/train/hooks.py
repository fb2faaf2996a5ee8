"""What happens between steps: counting, logging, checkpoints."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from franca.errors import CheckpointError, SaveError, TooManyBadSamples
from franca.train import checkpoint
from franca.train.loop import StepEvent
from franca.train.run_folder import RunFolder
from franca.train.saver import Saver

NUM_EXAMPLES = 5


class CountSamples:
    """Counts images, and samples that could not be used by reason, over the whole run, and keeps the last few of these.

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
            progress.bad_examples.append(f"{skipped.key} ({skipped.reason})")
            if place := skipped.place:
                self.bad_places[place] += 1
        del progress.bad_examples[:-NUM_EXAMPLES]


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

    def __call__(self, event: StepEvent) -> None:
        """Judge the run so far.

        Raises:
            TooManyBadSamples: the share is above the limit.
        """
        counts = event.progress.counts
        bad = counts.get("data/skipped", 0)
        read = counts["images"] + bad
        if bad > self.max_fraction * max(read, self.judge_after):
            last = ", ".join(event.progress.bad_examples)
            reasons = [f"{name} {number:,}" for name, number in skipped_by_reason(counts).items()]
            raise TooManyBadSamples(
                f"{bad:,} of {read:,} samples could not be read ({', '.join(reasons)}), more than "
                f"data.max_bad_fraction={self.max_fraction:g} allows. The last ones: {last}. "
                "Repair or remove them, or raise the limit."
            )


def skipped_by_reason(counts: Mapping[str, int]) -> dict[str, int]:
    """Samples that could not be used, by reason, of the counts of a run."""
    prefix = "data/skipped/"
    return {name.removeprefix(prefix): number for name, number in counts.items() if name.startswith(prefix)}


class LogMetrics:
    """Writes one line of metrics.jsonl every ``every_steps`` steps and hands it to a display.

    Losses, norms and rates are those of the step itself; speed and waiting are means since the last line.

    Args:
        folder: Of the run.
        every_steps: Steps between lines.
        watch: Adds to a line what it finds.
        show: Gets the line.
        say: Told where it cannot be written.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        every_steps: int,
        watch: Callable[[StepEvent, Mapping[str, float]], Mapping[str, float]],
        show: Callable[[StepEvent, Mapping[str, float]], None],
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.every_steps = every_steps
        self.watch = watch
        self.show = show
        self.say = say
        self._restart()

    def _restart(self) -> None:
        self._images, self._seconds, self._waited = 0, 0.0, 0.0

    def __call__(self, event: StepEvent) -> None:
        """Count the step; write a line where one is due."""
        self._images += event.num_images
        self._seconds += event.seconds
        self._waited += event.waited_seconds
        if event.step % self.every_steps and not event.is_last:
            return
        speed = {
            "images_per_second": self._images / self._seconds,
            "data_wait_fraction": self._waited / self._seconds,
        }
        record = self.watch(event, step_metrics(event) | speed)
        try:
            self.folder.append_metrics(record)
        except OSError as error:  # a full disk; training goes on, as it does where a checkpoint cannot be written
            self.say(f"alarm: step {event.step}: {error}. Its line of metrics is written with the next one.")
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

    What cannot be written is told and counted, and training goes on with the older checkpoints on the disk; the next
    one is tried as if nothing had happened. Only the last one must succeed.

    Args:
        saver: Writes checkpoints in the background; the last one is waited for.
        export: Writes the teacher's backbone to a path, given the step.
        export_every_steps: Teachers at multiples of this are kept for good; None keeps only the newest.
        say: Told, for every checkpoint, how long the run stood still for it, and what could not be written.
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
        """Save and export where it is due.

        Raises:
            SaveError: the last checkpoint, or the teacher with it, cannot be written.
        """
        self._attempt(event, self.saver.settle)
        if self.export_every_steps and event.step % self.export_every_steps == 0:
            path = self.folder.exports / f"teacher_{checkpoint.step_name(event.step)}.safetensors"
            self._attempt(event, lambda: self.export(path, event.step))
        if event.step % self.every_steps and not event.is_last:
            return
        self._attempt(event, self.saver.wait)
        started = time.perf_counter()
        self._attempt(event, lambda: self.saver.save(event.progress), must_succeed=event.is_last)
        saved = time.perf_counter()
        newest = self.folder.exports / "teacher.safetensors"
        self._attempt(event, lambda: self.export(newest, event.step), must_succeed=event.is_last)
        if event.is_last:
            self._attempt(event, self.saver.wait, must_succeed=True)
        self.say(
            f"checkpoint of step {event.step}: stood still for {saved - started:.2f} s to copy the state and "
            f"{time.perf_counter() - saved:.2f} s to export the teacher"
            + (" and finish writing" if event.is_last else "")
        )

    def _attempt(self, event: StepEvent, write: Callable[[], None], *, must_succeed: bool = False) -> None:
        """Write; what fails is told, and raised only where it must not."""
        try:
            write()
        except (CheckpointError, OSError) as error:
            if must_succeed:
                raise SaveError(f"step {event.step}, the last of this start, cannot be kept: {error}") from error
            event.progress.count("saves_failed")
            self.say(f"alarm: step {event.step}: {error} Training goes on, and the next save is tried as usual.")
