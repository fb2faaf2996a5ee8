from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from franca.data.permutation import Permutation


@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_is_one_to_one(size: int, key: int) -> None:
    image = Permutation(size, key)(np.arange(size))
    assert np.array_equal(np.sort(image), np.arange(size))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7])
def test_small_ranges_reach_every_permutation_equally_often(size: int) -> None:
    keys = np.arange(max(24_000, 20 * math.factorial(size)))
    images = Permutation(size, keys[:, None])(np.arange(size))  # [keys, size]
    counts = Counter(map(tuple, images.tolist()))
    cells = math.factorial(size)
    expected = len(keys) / cells
    chi_square = sum((counts[order] - expected) ** 2 / expected for order in permutations(range(size)))
    assert chi_square < cells + 5 * math.sqrt(2 * cells)  # five standard deviations above its mean


def test_neighbours_and_their_images_are_unrelated() -> None:
    image = Permutation(100_000, 5)(np.arange(100_000)).astype(float)
    assert abs(np.corrcoef(image[:-1], image[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(image, np.arange(100_000))[0, 1]) < 0.02
    other = Permutation(100_000, 6)(np.arange(100_000)).astype(float)
    assert abs(np.corrcoef(image, other)[0, 1]) < 0.02


def test_each_element_may_have_a_range_and_a_key_of_its_own() -> None:
    sizes, keys = np.array([1, 10, 999, 2**40]), np.array([3, 1, 4, 1])
    index = np.array([0, 9, 500, 2**39])
    image = Permutation(sizes, keys)(index)
    assert image.tolist() == [int(Permutation(n, k)(i)) for n, k, i in zip(sizes, keys, index, strict=True)]
    assert (image < sizes).all()


def test_does_not_change_its_input() -> None:
    index = np.arange(50)
    Permutation(50, 1)(index)
    assert np.array_equal(index, np.arange(50))


def test_huge_ranges_stay_in_range_and_apart() -> None:
    image = Permutation(2**60 + 7, 9)(2**60 - np.arange(10_000))
    assert len(np.unique(image)) == 10_000
    assert image.min() >= 0
    assert image.max() < 2**60 + 7


def test_values_are_fixed_for_ever() -> None:
    assert Permutation(10, 0)(np.arange(10)).tolist() == [1, 9, 5, 2, 3, 8, 7, 6, 4, 0]
