"""Accuracy and prefixes by hand."""

from __future__ import annotations

import torch

from franca.evaluation.metrics import hits, prefix_widths, top_counts


def test_hits_by_hand() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])
    labels = torch.tensor([2, 0])
    assert [hits(scores, labels, at=at) for at in (1, 2, 3)] == [1, 2, 2]


def test_a_class_without_a_score_is_never_right() -> None:
    scores = torch.tensor([[1.0, -torch.inf, -torch.inf]])
    assert hits(scores, torch.tensor([1]), at=3) == 0


def test_top5_says_nothing_about_five_classes() -> None:
    assert top_counts(5) == (1,)
    assert top_counts(6) == (1, 5)


def test_prefixes_are_whole_numbers() -> None:
    assert prefix_widths(384) == [384, 192, 96, 48, 24, 12, 6]
    assert prefix_widths(1024)[-1] == 16  # a sixty-fourth
    assert prefix_widths(100) == [100, 50, 25]
    assert prefix_widths(3) == [3]
