"""The feature table and what is asked for."""

from __future__ import annotations

import torch

from franca.features.table import FeatureTable, Wanted


def test_wanted_serves_both() -> None:
    assert Wanted(layers=4) | Wanted(patch_mean=True) == Wanted(layers=4, patch_mean=True)
    assert Wanted(patches=True) | Wanted(layers=2) == Wanted(layers=2, patches=True)


def test_images_that_are_not_finite_are_counted_once() -> None:
    cls, mean = torch.zeros(4, 2, 3), torch.zeros(4, 3)
    cls[0, 1, 2] = torch.nan
    cls[0, 0, 0] = torch.inf
    mean[0, 0] = mean[3, 0] = -torch.inf
    assert FeatureTable(cls, mean, None, tuple("abcd")).num_not_finite() == 2
    assert FeatureTable(cls, None, None, tuple("abcd")).num_not_finite() == 1


def test_the_embedding_is_that_of_the_last_block() -> None:
    table = FeatureTable(torch.arange(12.0).reshape(2, 2, 3), None, None, ("a", "b"))
    assert table.embedding.tolist() == [[3, 4, 5], [9, 10, 11]]
    assert (len(table), table.width) == (2, 3)
