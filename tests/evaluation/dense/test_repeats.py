"""Means of several runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from franca.evaluation.dense.repeats import Repeats


def test_equal_to_scipy() -> None:
    values = [0.31, 0.29, 0.35, 0.33, 0.30]
    found = Repeats.of(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.mean - found.half_interval, found.mean + found.half_interval) == pytest.approx((low, high))
    assert found.numbers("miou") == {"miou_std": found.std, "miou_interval95": found.half_interval}


def test_one_run_has_no_spread() -> None:
    found = Repeats.of([0.5])
    assert (found.mean, found.std, found.half_interval, found.numbers("miou")) == (0.5, 0, 0, {})
