"""Surface patterns, each a field of values in [0, 1].

Only sums, products, roundings and square roots touch the pixels: unlike sines and exponentials, these give
the same bits on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from franca.data.shapes import Field

Texture = Callable[[np.random.Generator, Field, Field], Field]

# Rounded far above a libm's last bit, so that every machine has the same table.
_TURNS = [(round(math.cos(a), 6), round(math.sin(a), 6)) for a in (2 * math.pi * i / 256 for i in range(256))]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A uniform draw. (Generator.uniform leaves the rounding of low + width * x to the compiler.)"""
    return low + (high - low) * rng.random()


def direction(rng: np.random.Generator) -> tuple[float, float]:
    """A unit vector that points anywhere."""
    return _TURNS[rng.integers(256)]


def stripes(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Bands."""
    along, _ = _waves(rng, x, y)
    return _sharpen(along, 6.0)


def checks(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """A checkerboard."""
    along, across = _waves(rng, x, y)
    return _sharpen(along * across * 4.0, 6.0)


def dots(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Round dots on a square lattice."""
    along, across = _waves(rng, x, y)
    along, across = along + 0.5, across + 0.5  # [0, 1], 0 at the middle of a dot
    return _sharpen(np.sqrt(along * along + across * across) - 0.6, 6.0)


def clouds(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Random values on a coarse lattice, interpolated."""
    cells = int(rng.integers(8, 17))
    lattice = rng.random((cells + 1, cells + 1), dtype=np.float32)
    rows = _interpolate(lattice, y.ravel(), cells)  # [S, cells + 1]
    values: Field = _interpolate(rows.T, x.ravel(), cells).T  # [S, S]
    return values


TEXTURES: tuple[Texture, ...] = (stripes, checks, dots, clouds)


def _waves(rng: np.random.Generator, x: Field, y: Field) -> tuple[Field, Field]:
    """Two triangle waves in [-0.5, 0.5] at a right angle."""
    cosine, sine = direction(rng)
    frequency = between(rng, 2.5, 6.0)  # periods per half side
    along = (cosine * frequency) * x + ((sine * frequency) * y + rng.random())
    across = (cosine * frequency) * y - ((sine * frequency) * x + rng.random())
    return _triangle_wave(along), _triangle_wave(across)


def _triangle_wave(phase: Field) -> Field:
    """Period 1, from -0.5 to 0.5."""
    wave: Field = np.abs(phase - np.rint(phase)) * 2.0 - 0.5
    return wave


def _sharpen(wave: Field, slope: float) -> Field:
    steep: Field = np.clip(wave * slope + 0.5, 0.0, 1.0)
    return steep


def _interpolate(lattice: Field, at: Field, cells: int) -> Field:
    """Linear interpolation of the first axis at coordinates in [-1, 1]."""
    position = (at + 1.0) * (0.5 * cells)
    left = np.minimum(position.astype(np.int64), cells - 1)
    share = (position - left.astype(np.float32))[:, None]
    blend: Field = lattice[left] * (1.0 - share) + lattice[left + 1] * share
    return blend
