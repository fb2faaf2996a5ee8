"""The benchmark at ImageNet's size, small: all contenders compute the same, and their memory is seen from outside."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks import imagenet
from benchmarks.imagenet import Outcome, Sizes


def drawn(folder: Path, layers: int) -> Sizes:
    sizes = Sizes(folder, bank=600, queries=50, width=16, classes=4, layers=layers, steps=2)
    imagenet.draw(sizes)
    return sizes


def test_neighbours_agree(tmp_path: Path) -> None:
    sizes = drawn(tmp_path, layers=1)
    ours, theirs = imagenet.knn_by_franca(sizes), imagenet.knn_by_sklearn(sizes)
    assert list(ours.values) == pytest.approx(list(theirs.values))
    assert 0.3 < ours.values[0] < 1 and ours.seconds > 0


def test_probes_agree_and_have_learnt_something(tmp_path: Path) -> None:
    sizes = drawn(tmp_path, layers=imagenet.LAYERS + 1)
    ours, apart = imagenet.grid_by_franca(sizes), imagenet.grid_by_heads(sizes)
    assert len(ours.values) == 52
    torch.testing.assert_close(torch.tensor(ours.values), torch.tensor(apart.values), rtol=1e-4, atol=1e-5)
    assert min(ours.values) < 0.9 * math.log(sizes.classes)


def hold_64_mib(sizes: Sizes) -> Outcome:
    """Keeps that much for a while."""
    held = torch.ones(16 * 2**20)
    return imagenet.timed(lambda: [float(sum(held.sum() for _ in range(200)))])


def test_own_memory_is_that_of_the_contender(tmp_path: Path) -> None:
    found = imagenet.in_a_process_of_its_own(hold_64_mib, drawn(tmp_path, layers=1))
    assert 60 < found.own_bytes / 2**20 < 200
