"""Penalised logistic regression against scikit-learn: the same objective, the same weights, the same answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from franca.evaluation import logistic
from franca.evaluation.logistic import fit
from franca.features.table import FeatureTable
from tests.evaluation.clusters import clusters

ALL_C = [1e-6, 1e-3, 1.0, 100.0]


def objective(scores: NDArray[np.float64], weight: NDArray[np.float64], labels: NDArray[np.int64], c: float) -> float:
    """scikit-learn's, from logits and what is penalised."""
    log_p = torch.from_numpy(scores).log_softmax(1).numpy()
    return float(-c * log_p[np.arange(len(labels)), labels].sum() + 0.5 * (weight**2).sum())


def data(n: int, width: int, num_classes: int, seed: int = 0) -> FeatureTable:
    return clusters(n, seed=seed, width=width, num_classes=num_classes, spread=3)


@pytest.mark.parametrize(
    ("n", "width", "num_classes", "shift"),
    [(400, 16, 7, 0.0), (300, 24, 2, 5.0), (60, 100, 10, 1.0)],  # ordinary; two classes far from 0; fewer than columns
)
def test_the_same_minimum_as_scikit_learn(n: int, width: int, num_classes: int, shift: float) -> None:
    train, val = data(n, width, num_classes), data(300, width, num_classes, seed=1)
    assert train.labels is not None and val.labels is not None
    features, queries = train.embedding + shift, val.embedding + shift
    found = fit(features, train.labels, ALL_C, num_classes=num_classes)
    scores = found.logits(queries)
    assert found.converged.all() and scores.shape == (len(ALL_C), 300, num_classes)
    for index, c in enumerate(ALL_C):
        reference = LogisticRegression(C=c, max_iter=10_000, tol=1e-8).fit(features.double().numpy(), train.labels)
        weight = found.weight[index].double()
        logits = features.double() @ weight + found.bias[index].double()
        # Of two classes scikit-learn keeps the difference of the weights.
        ours = weight[:, 1:] - weight[:, :1] if num_classes == 2 else weight
        theirs = reference.decision_function(features.double().numpy()).reshape(n, -1)
        if num_classes == 2:
            theirs = np.concatenate([np.zeros((n, 1)), theirs], axis=1)
        labels = train.labels.numpy()
        lowest = objective(theirs, reference.coef_, labels, c)
        assert objective(logits.numpy(), ours.numpy(), labels, c) == pytest.approx(lowest, rel=1e-4)
        assert float(found.objective[index]) * c * n == pytest.approx(lowest, rel=1e-4)
        largest = np.abs(reference.coef_).max()
        np.testing.assert_allclose(ours.T.numpy(), reference.coef_, atol=0.01 * largest)
        accuracy = float((scores[index].argmax(1) == val.labels).float().mean())
        assert accuracy == pytest.approx(reference.score(queries.double().numpy(), val.labels), abs=0.004)


@pytest.mark.parametrize("value", [0.0, 0.1, -1000.3])
def test_features_that_never_change_leave_the_intercept(value: float) -> None:
    """As a collapsed model gives them; the best answer is then the most frequent class."""
    labels = torch.tensor([0] * 3 + [1] * 5 + [2] * 2)
    found = fit(torch.full((10, 4), value), labels, [1e-6, 1.0, 1e5], num_classes=3)
    p = found.logits(torch.full((2, 4), value)).softmax(-1)
    assert found.converged.all()
    torch.testing.assert_close(p, torch.tensor([0.3, 0.5, 0.2]).expand_as(p), atol=1e-3, rtol=0)


def test_classes_that_can_be_told_apart_entirely() -> None:
    """Here the loss itself goes to nothing, and with it what fp32 has to tell apart."""
    train = data(80, 60, 4)
    assert train.labels is not None
    found = fit(train.embedding, train.labels, [1e5], num_classes=4)
    reference = LogisticRegression(C=1e5, max_iter=10_000, tol=1e-10).fit(train.embedding.double(), train.labels)
    scores = reference.decision_function(train.embedding.double().numpy())
    lowest = objective(scores, reference.coef_, train.labels.numpy(), 1e5)
    assert float(found.objective[0]) * 1e5 * 80 <= 1.01 * lowest


def test_shift_scale_and_rotation_of_features_change_what_they_should() -> None:
    train = data(300, 16, 5)
    assert train.labels is not None
    plain = fit(train.embedding, train.labels, [0.1], num_classes=5)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q
    moved = fit(train.embedding @ turn * 10 - 3, train.labels, [0.1 / 100], num_classes=5)
    torch.testing.assert_close(
        moved.logits(train.embedding @ turn * 10 - 3).softmax(-1),
        plain.logits(train.embedding).softmax(-1),
        atol=2e-3,
        rtol=0,
    )


def test_blocks_and_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train = data(200, 16, 5)
    assert train.labels is not None
    whole = fit(train.embedding, train.labels, ALL_C, num_classes=5)
    monkeypatch.setattr(logistic, "MAX_LOGITS", 5 * 30)
    monkeypatch.setattr(logistic, "MAX_PARAMETERS", 2 * 17 * 5)
    cut = fit(train.embedding, train.labels, ALL_C, num_classes=5)
    torch.testing.assert_close(cut.objective, whole.objective, atol=0, rtol=1e-5)
    torch.testing.assert_close(cut.weight, whole.weight, atol=1e-2, rtol=1e-2)


def test_a_column_that_never_changes_gets_no_weight() -> None:
    train = data(100, 8, 3)
    assert train.labels is not None
    features = torch.cat([train.embedding, torch.full((100, 1), 7.7)], dim=1)
    found = fit(features, train.labels, [1.0], num_classes=3)
    assert found.weight[0, -1].abs().max() < 1e-4
    plain = fit(train.embedding, train.labels, [1.0], num_classes=3)
    torch.testing.assert_close(found.objective, plain.objective, atol=0, rtol=1e-4)
