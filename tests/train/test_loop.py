"""The loop: which batches meet which step, who is told, and how it stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from franca.batch import Batch, Skipped
from franca.errors import TooManyBadSamples
from franca.train.checkpoint import Progress
from franca.train.clipping import Clip
from franca.train.loop import StepEvent, stop_on_signal, train
from franca.train.schedules import Schedule
from tests.distributed.ranks import run_ranks
from tests.objective.factory import cut, make_batch, make_objective
from tests.train.test_checkpoint import make

SCHEDULE = Schedule(
    num_steps=4,
    learning_rate=1e-3,
    min_learning_rate=0.0,
    warmup_steps=0,
    weight_decay=0.0,
    weight_decay_end=0.0,
    teacher_momentum=0.9,
    teacher_momentum_end=1.0,
    teacher_temperature=0.05,
    teacher_temperature_end=0.05,
    teacher_temperature_warmup_steps=0,
    freeze_prototypes_steps=0,
)


def run(progress: Progress, *, stop_after: int | None = None) -> tuple[bool, list[tuple[StepEvent, bool]]]:
    """Train on endless halves of one batch, two a step; every event, and whether it was the last when it came."""
    networks, optimizer = make()
    events: list[tuple[StepEvent, bool]] = []

    def halves() -> Iterator[Batch]:
        while True:
            yield from cut(make_batch(0), 2)

    finished = train(
        networks,
        make_objective(),
        optimizer,
        halves(),
        SCHEDULE,
        clip=Clip(3.0),
        progress=progress,
        accumulation=2,
        device=torch.device("cpu"),
        hooks=[lambda event: events.append((event, event.is_last))],
        should_stop=lambda: progress.step == stop_after,
    )
    return finished, events


def test_goes_to_the_end_and_tells_of_every_step() -> None:
    finished, events = run(Progress())
    assert finished
    assert [event.rates for event, _ in events] == [SCHEDULE(step) for step in range(4)]
    assert [len(event.micro_batches) for event, _ in events] == [2] * 4
    assert [last for _, last in events] == [False, False, False, True]


def test_goes_on_from_where_it_is() -> None:
    progress = Progress(3)
    finished, events = run(progress)
    assert finished and len(events) == 1 and progress.step == 4
    assert events[0][0].rates == SCHEDULE(3)


def test_stops_between_steps_and_says_so_to_hooks() -> None:
    finished, events = run(Progress(), stop_after=2)
    assert not finished and len(events) == 2
    assert events[-1][0].stopping and [last for _, last in events] == [False, True]


def test_a_stop_in_the_last_step_is_a_finish() -> None:
    assert run(Progress(), stop_after=4)[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_ask_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signal() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), number)
        assert should_stop()
    assert signal.getsignal(number) == before


def test_a_second_interrupt_interrupts() -> None:
    with stop_on_signal() as should_stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_no_signal_is_handled() -> None:
    found = []

    def ask() -> None:
        with stop_on_signal() as should_stop:
            found.append(should_stop())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [False]


def _two_ranks(
    rank: int, bad_step: int | None, stop_after: int | None
) -> tuple[list[tuple[int, list[str], bool]], str]:
    """Train on halves of a batch; rank 1 meets an unreadable sample in every step, and what the arguments say."""
    networks, optimizer = make()
    found: list[tuple[int, list[str], bool]] = []
    progress = Progress()

    def mine() -> Iterator[Batch]:
        step = 0
        while True:
            if rank == 1 and step == bad_step:
                raise TooManyBadSamples("nothing can be read")
            batch = cut(make_batch(step), 2)[rank]
            yield replace(batch, skipped=(Skipped("a.jpg", "empty"),) if rank == 1 else ())
            step += 1

    try:
        train(
            networks,
            make_objective(),
            optimizer,
            mine(),
            SCHEDULE,
            clip=Clip(3.0),
            progress=progress,
            accumulation=1,
            device=torch.device("cpu"),
            hooks=[lambda event: found.append((event.num_images, [s.key for s in event.skipped], event.stopping))],
            should_stop=lambda: rank == 1 and progress.step == stop_after,
        )
    except TooManyBadSamples as error:
        return found, f"{error} on rank {error.met_on_rank}"
    return found, ""


def test_ranks_stop_together_and_count_together() -> None:
    for found, error in run_ranks(_two_ranks, None, 2):
        assert found == [(4, ["a.jpg"], False), (4, ["a.jpg"], True)] and error == ""


def test_data_that_fails_on_one_rank_ends_all_between_steps() -> None:
    for found, error in run_ranks(_two_ranks, 1, None):
        assert found == [(4, ["a.jpg"], False)] and error == "nothing can be read on rank 1"
