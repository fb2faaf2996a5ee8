"""Cores by what the machine has and how many ranks share it."""

from __future__ import annotations

import pytest

from franca.distributed import cores


@pytest.mark.parametrize(
    ("found", "ranks", "spare"), [(1, 1, 0), (4, 1, 3), (4, 2, 1), (2, 4, 0), (64, 1, 8), (64, 8, 7)]
)
def test_a_rank_takes_its_share(found: int, ranks: int, spare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: found)
    assert cores.spare_cores(ranks) == spare


def test_there_is_a_core() -> None:
    assert cores.usable_cores() >= 1
