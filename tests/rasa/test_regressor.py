"""The regressor against an optimizer of scipy and the paper's loss written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from franca.models.projector import Projector
from franca.rasa.moments import Moments
from franca.rasa.patches import ImagePatches, split_images
from franca.rasa.regressor import fit_regressor, loss_and_gradient
from franca.rasa.settings import RasaSettings
from franca.rasa.targets import positions
from tests.rasa.factory import planted

NOTHING = Projector.removing(torch.zeros(0, 32))
SOME = Projector.removing(torch.randn(4, 32, generator=torch.Generator().manual_seed(7)))


def training_patches(num_images: int = 40) -> tuple[ImagePatches, Tensor]:
    table, _ = planted(num_images=num_images)
    return split_images(table, 0.2, 0, torch.device("cpu"))[0], positions(table.grid)


def mean_loss(patches: ImagePatches, places: Tensor, projector: Projector, weight: Tensor) -> Tensor:
    """Eq. 1, on projected features."""
    features = projector(torch.cat(list(patches.all())).double())
    return ((features @ weight.T).sigmoid() - places).square().sum(-1).mean()


def fitted(patches: ImagePatches, places: Tensor, projector: Projector, **options: object) -> tuple[Tensor, int]:
    steps: list[None] = []
    moments = Moments.of(patches, places, torch.zeros(32).double())
    settings = RasaSettings(**options)  # type: ignore[arg-type]
    weight = fit_regressor(patches, places, projector, moments, settings, seed=1, step=lambda: steps.append(None))
    return weight, len(steps)


def test_loss_and_gradient_are_those_of_autograd() -> None:
    patches, places = training_patches()
    weight = torch.randn(2, 32, generator=torch.Generator().manual_seed(3)).double().requires_grad_()
    expected = mean_loss(patches, places, NOTHING, weight)
    (gradient,) = torch.autograd.grad(expected, weight)
    loss, found = loss_and_gradient(patches.all(), places, weight.detach())
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("projector", [NOTHING, SOME], ids=["first round", "later round"])
def test_lbfgs_reaches_the_optimum(projector: Projector) -> None:
    patches, places = training_patches()
    weight, steps = fitted(patches, places, projector, solver="lbfgs")

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(flat).view(2, 32).requires_grad_()
        value = mean_loss(patches, places, projector, point)
        return float(value.detach()), torch.autograd.grad(value, point)[0].flatten().numpy()

    best = minimize(loss, np.zeros(64), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-12})
    assert float(mean_loss(patches, places, projector, weight)) == pytest.approx(best.fun, rel=1e-5)
    assert steps < 100
    torch.testing.assert_close(weight, projector(weight))  # nothing along what was removed


def test_adamw_comes_down_the_same_loss() -> None:
    patches, places = training_patches()
    optimum = float(mean_loss(patches, places, SOME, fitted(patches, places, SOME, solver="lbfgs")[0]))
    short, passes = fitted(patches, places, SOME, batch_images=8, epochs=2, learning_rate=0.02)
    long, _ = fitted(patches, places, SOME, batch_images=8, epochs=60, learning_rate=0.02)
    losses = [float(mean_loss(patches, places, SOME, weight)) for weight in (short, long)]
    assert passes == 2
    assert optimum < losses[1] < losses[0] < 0.4
    assert losses[1] - optimum < 0.2 * (losses[0] - optimum)
    torch.testing.assert_close(long, SOME(long))


def test_adamw_by_hand() -> None:
    """Two epochs of torch's own AdamW and autograd on the projected features."""
    patches, places = training_patches(10)
    found, _ = fitted(patches, places, SOME, batch_images=3, epochs=2, learning_rate=0.01)
    generator = torch.Generator().manual_seed(1)
    weight = torch.empty(2, 32, dtype=torch.float64).uniform_(-(32**-0.5), 32**-0.5, generator=generator)
    weight.requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=0.01, weight_decay=0.0)
    for epoch in range(2):
        for index, batch in enumerate(patches.shuffled(3, generator)):
            optimizer.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * (3 * epoch + index) / 6))
            optimizer.zero_grad()
            loss = ((SOME(batch.double()) @ weight.T).sigmoid() - places).square().sum(-1).mean()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(found, SOME(weight.detach()), rtol=1e-3, atol=1e-4)


def test_the_seed_decides() -> None:
    patches, places = training_patches(10)
    assert torch.equal(*(fitted(patches, places, NOTHING, batch_images=4)[0] for _ in range(2)))
