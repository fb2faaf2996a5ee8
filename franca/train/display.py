"""What is seen of a run: a progress bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from franca.train.loop import StepEvent


class Display:
    """Shows every logged step; use it as a context.

    Args:
        console: Where to print.
        start_step: Steps done before this start.
        num_steps: Steps of the whole run.
    """

    def __init__(self, console: Console, *, start_step: int, num_steps: int) -> None:
        self.console = console
        self.start_step = start_step
        self.num_steps = num_steps
        self._started = time.monotonic()
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=num_steps, completed=start_step, text="")

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: StepEvent, record: Mapping[str, float]) -> None:
        """Show a step that was logged."""
        text = summary(record)
        self._bar.update(self._task, completed=event.step, text=text)
        if not self.console.is_terminal:
            left = self._seconds_left(event.step)
            self.console.print(f"step {event.step}/{self.num_steps}  {text}  {clock(left)} left", soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, soft_wrap=True)

    def _seconds_left(self, step: int) -> float:
        seconds_per_step = (time.monotonic() - self._started) / max(1, step - self.start_step)
        return seconds_per_step * (self.num_steps - step)


def summary(record: Mapping[str, float]) -> str:
    """Losses (levels summed), speed and waiting on one line."""
    losses = {"loss": record["loss/total"]}
    for name, value in record.items():
        if name.startswith("loss/") and name != "loss/total":
            term = name.removeprefix("loss/").split("_")[0]
            losses[term] = losses.get(term, 0.0) + value
    shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
    speed, waiting = record["images_per_second"], record["data_wait_fraction"]
    return f"{shown}  {speed:.0f} images/s  waiting for data {waiting:.0%}"


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
