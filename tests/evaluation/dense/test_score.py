"""A projector that keeps what tells classes apart scores above one that removes it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from franca.errors import DataError
from franca.evaluation.dense.score import incontext_score
from franca.features.model import FeatureModel
from franca.features.patches import PatchTable
from franca.models.projector import Projector
from tests.evaluation.dense.subjects import CPU, features_of, painted, table_of


def score_of(table: PatchTable, directions: Tensor) -> float:
    return incontext_score(FeatureModel(nn.Identity()), table, CPU)(Projector.removing(directions))


def test_better_without_what_confuses_and_worse_without_what_tells() -> None:
    masks, classes = painted(16, seed=0)
    content = features_of(classes, seed=0, noise=0.3)  # [n, h, w, 8]
    place = 30 * torch.randn(*content.shape[:3], 2, generator=torch.Generator().manual_seed(1))
    table = table_of(torch.cat([content, place], dim=-1), masks)
    axes = torch.eye(10)
    raw, clean, blind = (score_of(table, kept) for kept in (axes[:0], axes[8:], axes[:8]))
    assert clean > 0.9 and clean > raw > blind


def test_a_single_image_or_no_masks() -> None:
    masks, classes = painted(2, seed=0)
    table = table_of(features_of(classes, seed=0), masks)
    with pytest.raises(DataError, match="two images at least"):
        score_of(table_of(table.patches[:1], masks[:1]), torch.zeros(0, 8))
    with pytest.raises(DataError, match="no masks"):
        score_of(table_of(table.patches), torch.zeros(0, 8))
