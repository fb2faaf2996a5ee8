"""What the moments say, against scikit-learn on the features themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from franca.models.projector import Projector
from franca.rasa.moments import Moments, readability, removed_share
from franca.rasa.patches import ImagePatches, split_images
from franca.rasa.targets import positions
from tests.rasa.factory import planted


def moments_of(images: ImagePatches) -> Moments:
    return Moments.of(images, positions(images.table.grid), torch.full((images.table.width,), 0.4).double())


def rows(images: ImagePatches, projector: Projector) -> tuple[np.ndarray, np.ndarray]:
    features = torch.cat(list(images.all())).double()
    return projector(features).flatten(0, 1).numpy(), positions(images.table.grid).repeat(len(images), 1).numpy()


@pytest.mark.parametrize("num_removed", [0, 3])
@pytest.mark.parametrize("grid", [(6, 8), (1, 12)])
def test_as_scikit_learn_on_projected_features(num_removed: int, grid: tuple[int, int]) -> None:
    table, _ = planted(grid=grid, amplitude=0.7)
    train, held_out = split_images(table, 0.3, 0, torch.device("cpu"))
    projector = Projector.removing(torch.randn(num_removed, 32, generator=torch.Generator().manual_seed(5)))
    found = readability(moments_of(train), moments_of(held_out), projector)
    seen, places = rows(held_out, projector)
    predicted = LinearRegression().fit(*rows(train, projector)).predict(seen)
    assert found.r2 == pytest.approx(r2_score(places, predicted), abs=1e-6)
    assert found.error == pytest.approx(np.sqrt(np.mean((places - predicted) ** 2)), abs=1e-6)
    assert 0.05 < found.r2 < 0.95


def test_moments_by_their_definition() -> None:
    table, _ = planted(num_images=9)
    images = split_images(table, 0.2, 0, torch.device("cpu"))[0]
    found = moments_of(images)
    features, places = rows(images, Projector.removing(torch.zeros(0, 32)))
    both = np.cov(features.T, places.T, bias=True)
    np.testing.assert_allclose(found.covariance, both[:32, :32], atol=1e-5)
    np.testing.assert_allclose(found.position_covariance, both[:32, 32:], atol=1e-5)
    np.testing.assert_allclose(found.mean, features.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.energy, features.T @ features / len(features), atol=1e-5)


def test_the_share_that_is_removed() -> None:
    table, _ = planted(num_images=9)
    images = split_images(table, 0.2, 0, torch.device("cpu"))[0]
    projector = Projector.removing(torch.randn(3, 32, generator=torch.Generator().manual_seed(5)))
    features = torch.cat(list(images.all()))
    left = projector(features).square().sum() / features.square().sum()
    assert removed_share(moments_of(images).energy, projector) == pytest.approx(1 - float(left), abs=1e-5)
