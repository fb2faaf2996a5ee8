from __future__ import annotations

import numpy as np

from franca.data.randomness import Stream, derive_key, generator, mix


def test_mix_is_the_finaliser_of_splitmix64() -> None:
    # The first two outputs of SplitMix64 seeded with 0, as published with the algorithm.
    golden = np.array([0x9E3779B97F4A7C15, (2 * 0x9E3779B97F4A7C15) % 2**64], dtype=np.uint64)
    assert [int(word) for word in mix(golden)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_keys_of_one_word_are_splitmix64_of_it() -> None:
    assert int(derive_key(0)) == 0xE220A8397B1DCDAF


def test_keys_broadcast_and_equal_those_of_single_places() -> None:
    keys = derive_key(7, np.arange(3)[:, None], np.arange(5))
    assert keys.shape == (3, 5)
    assert all(keys[i, j] == derive_key(7, i, j) for i in range(3) for j in range(5))


def test_every_word_and_its_place_matter() -> None:
    words = [(0,), (0, 0), (1,), (0, 1), (1, 0), (2**63,), (3, Stream.ORDER), (3, Stream.MASK)]
    assert len({int(derive_key(*word)) for word in words}) == len(words)


def test_generators_of_neighbouring_keys_share_nothing() -> None:
    draws = np.stack([generator(key).random(2000) for key in derive_key(0, np.arange(20))])
    correlation = np.corrcoef(draws) - np.eye(20)
    assert np.abs(correlation).max() < 0.12  # five standard deviations
