"""Clusters and classes."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from franca.evaluation.dense.confusion import confusion_matrix, scores
from franca.evaluation.dense.matching import confusion_of, many_to_one, one_to_one


def overlap_of(clusters: torch.Tensor, masks: torch.Tensor, num_clusters: int, num_classes: int) -> torch.Tensor:
    counts = torch.zeros(num_clusters, num_classes, dtype=torch.int64)
    return counts.index_put_((clusters, masks), torch.ones_like(clusters), accumulate=True)


def test_most_pixels_decide() -> None:
    overlap = torch.tensor([[5, 1], [2, 3], [9, 0], [0, 0]])
    assert many_to_one(overlap).tolist() == [0, 1, 0, 2]  # the last has no pixel and stands for none


@pytest.mark.parametrize("num_clusters", [3, 5])
def test_one_to_one_is_the_best_of_all_matchings(num_clusters: int) -> None:
    generator = torch.Generator().manual_seed(num_clusters)
    overlap = torch.randint(50, (num_clusters, 3), generator=generator)
    found = scores(confusion_of(overlap, one_to_one(overlap))).iou.sum()
    for chosen in permutations(range(num_clusters), 3):
        classes = torch.full((num_clusters,), 3)
        classes[list(chosen)] = torch.arange(3)
        assert scores(confusion_of(overlap, classes)).iou.sum() <= found + 1e-12


def test_fewer_clusters_than_classes() -> None:
    matched = one_to_one(torch.tensor([[0, 9, 1], [8, 1, 1]]))
    assert matched.tolist() == [1, 0]


def test_confusion_is_that_of_the_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    clusters, masks = (torch.randint(high, (500,), generator=generator) for high in (6, 4))
    overlap = overlap_of(clusters, masks, 6, 4)
    for match in (many_to_one, one_to_one):
        classes = match(overlap)
        assert torch.equal(confusion_of(overlap, classes), confusion_matrix(classes[clusters], masks, 4))
