"""The loop: take micro-batches, step, tell the hooks."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import torch

from franca.batch import Batch, Skipped
from franca.distributed.lifetime import STOP_SIGNALS
from franca.distributed.together import any_rank, gather, raising_together
from franca.objective.pretraining import PretrainingObjective
from franca.train.checkpoint import Progress
from franca.train.clipping import Clip
from franca.train.schedules import Rates, Schedule
from franca.train.step import StepResult, train_step
from franca.train.student_teacher import StudentTeacher


@dataclass(frozen=True)
class StepEvent:
    """What hooks are told after a step."""

    progress: Progress
    num_steps: int
    result: StepResult
    rates: Rates
    micro_batches: Sequence[Batch]
    """This rank's."""
    seconds: float
    waited_seconds: float
    stopping: bool
    skipped: Sequence[Skipped] = ()
    """Samples that could not be used, on any rank."""
    should_stop: Callable[[], bool] = lambda: False
    """Whether this rank has been asked to stop by now: for hooks that take long."""

    @property
    def step(self) -> int:
        """Steps done, this one included."""
        return self.progress.step

    @property
    def num_images(self) -> int:
        """Images of the step, on all ranks."""
        return self.micro_batches[0].global_batch

    @property
    def is_last(self) -> bool:
        """Whether the loop ends here, finished or stopped."""
        return self.stopping or self.step == self.num_steps


class Hook(Protocol):
    """Something that happens between steps."""

    def __call__(self, event: StepEvent) -> None:
        """Called after every step, in the order of the hooks."""


def train(
    networks: StudentTeacher,
    objective: PretrainingObjective,
    optimizer: torch.optim.Optimizer,
    loader: Iterable[Batch],
    schedule: Schedule,
    *,
    clip: Clip,
    progress: Progress,
    accumulation: int,
    device: torch.device,
    hooks: Sequence[Hook],
    should_stop: Callable[[], bool],
) -> bool:
    """Train from ``progress.step`` to the schedule's end, or until asked to stop.

    Args:
        networks: Student and teacher on ``device``.
        objective: Gives targets and losses.
        optimizer: Over the student.
        loader: This rank's micro-batches in the order of the plan, beginning with this step's.
        schedule: Gives the rates of every step.
        clip: Clips gradients and measures them.
        progress: Advanced in place. A step that is not finite counts; it advances data, not weights.
        accumulation: Micro-batches of a rank per step.
        device: Where micro-batches go.
        hooks: Told of every step, in this order.
        should_stop: Asked once after every step; one rank that is asked to stop stops all.

    Returns:
        Whether the run is finished.

    Raises:
        FrancaError: data or a hook ends the run; an error in the data is raised on every rank, between steps.
    """
    batches = iter(loader)
    while progress.step < schedule.num_steps:
        started = time.perf_counter()
        micro_batches = _take(batches, accumulation)
        waited = time.perf_counter() - started
        skipped = _skipped_anywhere(micro_batches)
        micro_batches = [batch.to(device) for batch in micro_batches]
        rates = schedule(progress.step)
        result = train_step(networks, objective, optimizer, micro_batches, rates, clip=clip)
        progress.step += 1
        event = StepEvent(
            progress=progress,
            num_steps=schedule.num_steps,
            result=result,
            rates=rates,
            micro_batches=micro_batches,
            seconds=time.perf_counter() - started,
            waited_seconds=waited,
            stopping=any_rank(should_stop()),
            skipped=skipped,
            should_stop=should_stop,
        )
        for hook in hooks:
            hook(event)
        if event.stopping:
            break
    return progress.step >= schedule.num_steps


def _take(batches: Iterator[Batch], number: int) -> list[Batch]:
    """The next micro-batches; what is wrong with one rank's is raised on all."""
    with raising_together():
        return [next(batches) for _ in range(number)]


def _skipped_anywhere(micro_batches: Sequence[Batch]) -> list[Skipped]:
    """What was skipped on all ranks, in their order."""
    skipped = [one for batch in micro_batches for one in batch.skipped]
    return [one for rank in gather(skipped) for one in rank] if any_rank(bool(skipped)) else []


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 into a flag that the loop reads between steps.

    The second SIGINT interrupts at once. Outside the main thread, where signals cannot be handled, nothing is done.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
