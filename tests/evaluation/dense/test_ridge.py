"""Ridge regression against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from franca.evaluation.dense.ridge import RidgeSums


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_equal_to_scikit_learn(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = 3 + torch.randn(200, 10, generator=generator, dtype=torch.float64)
    targets = rows @ torch.randn(10, 2, generator=generator, dtype=torch.float64) + 5
    sums = RidgeSums(10, 2)
    for part, target in zip(rows.split(33), targets.split(33), strict=True):
        sums.add(part, target)
    matrix = torch.randn(10, 4, generator=generator, dtype=torch.float64)
    for chosen in (torch.eye(10, dtype=torch.float64), matrix):
        reference = Ridge(alpha=alpha).fit((rows @ chosen).numpy(), targets.numpy())
        found = sums.solve(chosen, alpha)
        np.testing.assert_allclose(found.weight.T.numpy(), reference.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.intercept.numpy(), reference.intercept_, rtol=1e-6)
        np.testing.assert_allclose(found(rows @ chosen).numpy(), reference.predict((rows @ chosen).numpy()), rtol=1e-6)
