"""Statistics of features: against the whole matrix, and where the answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from franca.objective.feature_statistics import FeatureSums


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_numbers_are_those_of_the_whole_matrix_however_it_is_cut() -> None:
    features = draw(60, 16) @ draw(16, 16) + 2
    sums = FeatureSums.of(features[:13]) + FeatureSums.of(features[13:13]) + FeatureSums.of(features[13:])
    std = F.normalize(features, dim=1).var(dim=0, correction=0).mean().sqrt() * 4
    assert float(sums.spread) == pytest.approx(float(std), rel=1e-5)
    share = torch.linalg.svdvals(features.double())
    share /= share.sum()
    assert float(sums.effective_rank) == pytest.approx(float((-(share * share.log()).sum()).exp()), rel=1e-6)


def test_isotropic_features_spread_by_one_and_use_all_dimensions() -> None:
    sums = FeatureSums.of(draw(20_000, 12))
    assert float(sums.spread) == pytest.approx(1, abs=1e-3)
    assert float(sums.effective_rank) == pytest.approx(12, abs=0.02)


@pytest.mark.parametrize("value", [0.0, 1e-20, 3.0])
def test_features_that_are_all_the_same_do_not_spread(value: float) -> None:
    sums = FeatureSums.of(torch.full((50, 12), value))
    assert float(sums.spread) < 1e-6
    assert float(sums.effective_rank) == pytest.approx(1, abs=1e-3)


def test_a_line_of_features_has_rank_one_and_spreads() -> None:
    sums = FeatureSums.of(draw(50, 1) * draw(1, 12))
    assert float(sums.effective_rank) == pytest.approx(1, abs=1e-3)
    assert float(sums.spread) > 0.9


def test_length_does_not_spread() -> None:
    assert float(FeatureSums.of(torch.ones(50, 12) * torch.arange(1, 51)[:, None]).spread) < 1e-6
