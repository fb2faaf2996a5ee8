"""The textures of the drawn images."""

from __future__ import annotations

import numpy as np
import pytest

from franca.data.textures import TEXTURES, Texture, between, direction

AXIS = np.linspace(-1, 1, 64, dtype=np.float32)
X, Y = AXIS[None, :], AXIS[:, None]


@pytest.mark.parametrize("texture", TEXTURES)
def test_texture_covers_the_image_in_single_precision(texture: Texture) -> None:
    for seed in range(20):
        values = texture(np.random.default_rng(seed), X, Y)
        assert values.shape == (64, 64)
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1
        assert values.std() > 0.1


@pytest.mark.parametrize("texture", TEXTURES)
def test_texture_follows_from_the_generator(texture: Texture) -> None:
    first, same, other = (texture(np.random.default_rng(seed), X, Y) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_directions_are_unit_vectors_all_around() -> None:
    rng = np.random.default_rng(0)
    vectors = np.array([direction(rng) for _ in range(2000)])
    assert np.allclose(np.hypot(*vectors.T), 1, atol=2e-6)
    assert np.abs(vectors.mean(axis=0)).max() < 0.06


def test_between_stays_between() -> None:
    rng = np.random.default_rng(0)
    values = [between(rng, -2.0, 3.0) for _ in range(1000)]
    assert -2 <= min(values) < -1.9
    assert 2.9 < max(values) < 3
