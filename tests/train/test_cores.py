"""Data workers by cores and ranks."""

from __future__ import annotations

import pytest

from franca.distributed import cores
from franca.train.cores import default_workers


@pytest.mark.parametrize(("found", "ranks", "workers"), [(1, 1, 1), (4, 1, 3), (4, 2, 1), (64, 1, 8), (64, 8, 7)])
def test_a_rank_takes_its_share_of_the_cores(
    found: int, ranks: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: found)
    assert default_workers(ranks) == workers
