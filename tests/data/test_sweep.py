"""Work spread over processes, results in order."""

from __future__ import annotations

import os

import pytest

from franca.data.sweep import sweep
from franca.errors import DataError


def squared(number: int) -> int:
    return number * number


def refused(number: int) -> int:
    if number == 3:
        raise DataError("three is no image")
    return number


def process(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("num_items", [0, 1, 10])
def test_results_come_in_order(workers: int, num_items: int) -> None:
    seen: list[tuple[int, int]] = []
    found = sweep(squared, range(num_items), workers=workers, chunk=3, progress=lambda *done: seen.append(done))
    assert list(found) == [number * number for number in range(num_items)]
    assert [done for done, _ in seen] == [min(done, num_items) for done in range(3, num_items + 3, 3)]
    assert all(total == num_items for _, total in seen)


def test_workers_are_other_processes() -> None:
    assert set(sweep(process, range(4), workers=0)) == {os.getpid()}
    found = set(sweep(process, range(4), workers=2, chunk=1))
    assert len(found) == 2 and os.getpid() not in found


@pytest.mark.parametrize("workers", [0, 1])
def test_our_errors_arrive_as_they_were_raised(workers: int) -> None:
    results = sweep(refused, range(5), workers=workers, chunk=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError) as raised:
        next(results)
    assert str(raised.value) == "three is no image"
