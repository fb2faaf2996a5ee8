"""Votes of patches against nearest-neighbour enlargement."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from franca.evaluation.dense.confusion import confusion_matrix
from franca.evaluation.dense.matching import confusion_of
from franca.evaluation.dense.votes import patch_votes, shrink


def test_by_hand() -> None:
    masks = torch.tensor([[[0, 0, 1, 1], [0, 2, 255, 255]]], dtype=torch.uint8)
    assert patch_votes(masks, (1, 2), 3).tolist() == [[[[3, 0, 1], [0, 2, 0]]]]


@pytest.mark.parametrize("size", [(12, 20), (13, 17), (3, 5), (2, 4)])
def test_counting_votes_is_comparing_enlarged_maps(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(4, (3, *size), generator=generator).to(torch.uint8)
    masks[masks == 3] = 255
    clusters = torch.randint(6, (3, 3, 5), generator=generator)
    overlap = torch.zeros(6, 3, dtype=torch.int64)
    overlap.index_add_(0, clusters.flatten(), patch_votes(masks, (3, 5), 3).flatten(0, 2))
    classes = torch.tensor([0, 1, 2, 0, 1, 3])  # the last cluster stands for none
    enlarged = interpolate(classes[clusters][:, None].float(), size=size, mode="nearest")[:, 0].long()
    assert torch.equal(confusion_of(overlap, classes), confusion_matrix(enlarged, masks, 3))


def test_shrinking_keeps_classes() -> None:
    masks = torch.arange(4, dtype=torch.uint8).repeat_interleave(5).expand(2, 10, -1)
    small = shrink(masks, 4)
    assert small.shape == (2, 4, 4) and small[0, 0].tolist() == [0, 1, 2, 3] and small.dtype == torch.uint8
    assert shrink(masks, None) is masks
