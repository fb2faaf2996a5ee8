"""Principal components against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from franca.evaluation import pca
from franca.evaluation.pca import Pca
from tests.evaluation.clusters import clusters

TRAIN, VAL = clusters(300, seed=0).embedding, clusters(50, seed=1).embedding


@pytest.mark.parametrize("width", [1, 5, 16])
def test_the_same_as_scikit_learn_up_to_signs(width: int) -> None:
    reference = PCA(width).fit(TRAIN.double().numpy())
    expected = reference.transform(VAL.double().numpy())
    fitted = Pca.of(TRAIN)
    np.testing.assert_allclose(fitted(VAL, width).abs().numpy(), np.abs(expected), atol=1e-3)
    ours = fitted.variances[:width].numpy() * 300 / 299  # scikit-learn divides by n - 1
    np.testing.assert_allclose(ours, reference.explained_variance_, rtol=1e-4)


def test_distances_are_kept_at_full_width() -> None:
    torch.testing.assert_close(torch.pdist(Pca.of(TRAIN)(VAL)), torch.pdist(VAL), atol=1e-3, rtol=1e-4)


def test_blocks_and_half_precision_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Pca.of(TRAIN)(VAL)
    monkeypatch.setattr(pca, "ROWS", 7)
    torch.testing.assert_close(Pca.of(TRAIN)(VAL), whole, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(Pca.of(TRAIN.half())(VAL), whole, atol=0.05, rtol=0.05)


def test_signs_do_not_depend_on_rounding() -> None:
    noise = 1e-5 * torch.randn(TRAIN.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Pca.of(TRAIN + noise).components, Pca.of(TRAIN).components, atol=1e-2, rtol=0)
