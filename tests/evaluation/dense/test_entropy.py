"""Entropy of places within clusters."""

from __future__ import annotations

from math import log2

import pytest
import torch

from franca.evaluation.dense.entropy import shuffled, spatial_entropy


def test_by_hand() -> None:
    assigned = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])  # two images of four patches
    found = spatial_entropy(assigned, 3)
    third = log2(3)
    first = -(2 / 3 * log2(2 / 3) + 1 / 3 * log2(1 / 3))  # places 0, 1, 0
    second = -(1 / 5 * log2(1 / 5) + 2 * 2 / 5 * log2(2 / 5))  # places 2, 3, 1, 2, 3
    assert found.per_cluster.tolist() == pytest.approx([first, second, float("nan")], nan_ok=True)
    assert found.bits == pytest.approx((3 * first + 5 * second) / 8)
    assert found.share == pytest.approx(found.bits / 2) and first < third


def test_clusters_that_are_places_have_none_and_clusters_that_know_no_place_have_all() -> None:
    places = torch.arange(16).expand(300, 16)
    assert spatial_entropy(places, 16).share == 0
    images = torch.arange(300)[:, None].expand(300, 16) % 10
    assert spatial_entropy(images, 10).share == pytest.approx(1)


def test_shuffling_keeps_sizes_and_loses_places() -> None:
    places = torch.arange(16).expand(300, 16)
    mixed = shuffled(places, seed=0)
    assert torch.equal(mixed.flatten().bincount(), places.flatten().bincount())
    assert spatial_entropy(mixed, 16).share > 0.98


def test_one_patch() -> None:
    assert spatial_entropy(torch.zeros(3, 1, dtype=torch.int64), 2).share == 1
