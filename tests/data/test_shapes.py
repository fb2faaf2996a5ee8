"""The shapes behind the drawn images."""

from __future__ import annotations

import numpy as np
import pytest

from franca.data.shapes import SHAPES, Field

AXIS = (np.arange(1000, dtype=np.float32) + 0.5) / 250 - 2  # [-2, 2] in steps of 1/250


def field(name: str) -> Field:
    return SHAPES[name](*np.meshgrid(AXIS, AXIS))


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_covers_the_area_pi(name: str) -> None:
    inside = field(name) < 0
    assert inside.sum() / 250**2 == pytest.approx(np.pi, rel=0.01)
    assert not inside[[0, -1]].any()
    assert not inside[:, [0, -1]].any()


@pytest.mark.parametrize("name", SHAPES)
def test_values_beside_the_outline_are_distances(name: str) -> None:
    values = field(name)
    rows, columns = np.gradient(values, 1 / 250)
    slope = np.hypot(rows, columns)[np.abs(values) < 0.02]
    assert np.median(slope) == pytest.approx(1, abs=0.01)
    assert slope.max() < 1.2


def test_some_points_by_hand() -> None:
    def inside(name: str, u: float, v: float) -> bool:
        return bool(SHAPES[name](*np.array([[u], [v]], np.float32))[0] < 0)

    assert [name for name in SHAPES if not inside(name, 0, 0)] == ["ring"]
    assert inside("ring", 0.93, 0)
    assert inside("crescent", -0.6, 0)
    assert not inside("crescent", 0.6, 0)
    assert inside("cross", 1.1, 0.3)
    assert not inside("cross", 0.6, 0.6)
    assert inside("star", 0, 1.6)
    assert not inside("star", 0, -1.0)
    assert inside("hourglass", 1.1, 1.1)
    assert not inside("hourglass", 1.1, 0)
