"""When waiting for data is spoken of, and which lever is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from franca.train.checkpoint import Progress
from franca.train.data_wait import AdviseOnDataWait, advice_on_data_wait
from tests.train.test_hooks import event_of


def told(*shares: float, seconds: float = 10.0) -> list[str]:
    """What is said in a run of ten-second steps, given the share of waiting in each."""
    said: list[str] = []
    hook = AdviseOnDataWait(said.append, "Do this.", every_steps=2, every_seconds=20)
    for share in shares:
        hook(replace(event_of(Progress()), seconds=seconds, waited_seconds=share * seconds))
    return said


def test_a_wait_that_lasts_is_told_once() -> None:
    (text,) = told(*[0.5] * 20)
    assert text == "note: 50% of the time is spent waiting for data. Do this."


def test_nothing_is_said_of_the_start_of_a_short_wait_or_of_little() -> None:
    assert told(0.9, 0.9, 0.1, 0.1) == []
    assert told(0.1, 0.1, 0.9, -0.5, 0.1) == []
    assert told(*[0.2] * 20) == []
    assert told(*[0.5] * 3, seconds=10) == []


def test_steps_that_take_no_time_are_measured_over_more_of_them() -> None:
    assert told(*[0.5] * 39, seconds=1) == []
    assert len(told(*[0.5] * 40, seconds=1)) == 1


@pytest.mark.parametrize(
    ("workers", "on_accelerator", "augment_on", "kind", "named"),
    [
        (0, False, "cpu", "folder", "performance.workers=2"),
        (1, True, "cpu", "tar", "performance.workers=2"),
        (4, True, "cpu", "tar", "performance.workers=7"),
        (7, True, "cpu", "tar", "performance.augment_on=device"),
        (7, True, "device", "folder", "franca data pack"),
        (7, False, "cpu", "tar", "franca data pack"),
        (7, False, "cpu", "synthetic", "data.synthetic.size_px"),
    ],
)
def test_the_lever_fits_the_run(workers: int, on_accelerator: bool, augment_on: str, kind: str, named: str) -> None:
    text = advice_on_data_wait(
        workers=workers, cores=8, on_accelerator=on_accelerator, augment_on=augment_on, kind=kind
    )
    assert named in text


def test_one_core_is_not_asked_for_more_workers() -> None:
    text = advice_on_data_wait(workers=1, cores=1, on_accelerator=True, augment_on="cpu", kind="tar")
    assert "performance.augment_on" in text
    assert "franca data pack" in advice_on_data_wait(
        workers=0, cores=1, on_accelerator=False, augment_on="cpu", kind="tar"
    )
