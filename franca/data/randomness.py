"""Random numbers that depend on where they are used, never on what was drawn before.

A key is a 64-bit hash of a few integers such as (seed, stream, pass, lane). Everything random in the data is drawn
from the key of its place, so ranks, workers, batch sizes and restarts cannot change it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints: TypeAlias = NDArray[np.int64]
Keys: TypeAlias = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)


class Stream(IntEnum):
    """What a key is for; no two uses share their random numbers."""

    ORDER = 1
    SHARDS = 2
    WINDOW_BORDER = 3
    WINDOW = 4
    REPLACEMENT = 5
    MASKED_CROPS = 6
    MASK = 7
    CROPS = 8
    STUDENT = 9
    MIXTURE = 10


def mix(words: Keys) -> Keys:
    """Scramble 64-bit words one to one, so that neighbours share nothing (the finaliser of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * _FACTOR_1
    words = (words ^ (words >> np.uint64(27))) * _FACTOR_2
    return np.asarray(words ^ (words >> np.uint64(31)))


def derive_key(*words: ArrayLike) -> Keys:
    """The key of a place.

    Args:
        words: integers, or arrays of integers that broadcast against each other.

    Returns:
        One key for each element of the broadcast shape.
    """
    key: Keys = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        for word in words:
            key = mix(key + np.asarray(word).astype(np.uint64) + _GOLDEN)
    return key


def generator(key: np.uint64) -> np.random.Generator:
    """A NumPy generator for the place of ``key`` alone."""
    return np.random.Generator(np.random.Philox(key=int(key)))
