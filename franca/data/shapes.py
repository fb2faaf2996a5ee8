"""Eight shapes of equal area, as functions that are negative inside.

Each takes coordinates ``u`` and ``v`` [S, S] in units in which every shape covers the area pi, and returns
how far a point is from the outline: exact beside straight edges and arcs, which is where anti-aliasing looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
Shape = Callable[[Field, Field], Field]

# Unit normals of a pentagram's five lines.
_PENTAGRAM = (
    (0.0, 1.0),
    (0.9510565, 0.309017),
    (0.5877853, -0.809017),
    (-0.5877853, -0.809017),
    (-0.9510565, 0.309017),
)


def disk(u: Field, v: Field) -> Field:
    """A full circle."""
    return np.sqrt(u * u + v * v) - 1.0


def ring(u: Field, v: Field) -> Field:
    """A circle with a round hole."""
    return np.abs(np.sqrt(u * u + v * v) - 0.9317) - 0.2683


def crescent(u: Field, v: Field) -> Field:
    """A circle with a bite."""
    body, bite = u - 0.35, u - 1.05
    return np.maximum(np.sqrt(body * body + v * v) - 1.25, 0.8118 - np.sqrt(bite * bite + v * v))


def triangle(u: Field, v: Field) -> Field:
    """Three equal sides."""
    return np.maximum(0.8660254 * np.abs(u) + 0.5 * v, -v) - 0.7776


def square(u: Field, v: Field) -> Field:
    """Four equal sides."""
    return np.maximum(np.abs(u), np.abs(v)) - 0.8862


def cross(u: Field, v: Field) -> Field:
    """Two bars at a right angle."""
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(u, v) - 0.394, np.maximum(u, v) - 1.1938)


def star(u: Field, v: Field) -> Field:
    """Five points: inside are the points that lie beyond at most one of the pentagram's five lines."""
    farthest: Field = np.full_like(u, -np.inf)
    second = farthest
    for across, along in _PENTAGRAM:
        line = across * u + along * v
        second = np.maximum(second, np.minimum(farthest, line))
        farthest = np.maximum(farthest, line)
    inside: Field = second - 0.5169
    return inside


def hourglass(u: Field, v: Field) -> Field:
    """Two triangles that meet at a narrow waist."""
    u, v = np.abs(u), np.abs(v)
    inside: Field = np.maximum(v - 1.15, 0.7657 * (u - 0.2) - 0.6431 * v)
    return inside


SHAPES: dict[str, Shape] = {
    "disk": disk,
    "ring": ring,
    "crescent": crescent,
    "triangle": triangle,
    "square": square,
    "cross": cross,
    "star": star,
    "hourglass": hourglass,
}
