"""Probes trained together against each trained alone by torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from franca.evaluation.linear import joint_features
from franca.evaluation.probes import Group, Standardiser, accuracy_and_loss, train_probes
from tests.evaluation.clusters import clusters

TABLE = clusters(100, seed=0, layers=2)
GROUPS = [
    Group("all", slice(0, 48), (0.01, 0.3)),
    Group("last", slice(16, 32), (0.1,)),
    Group("cut", slice(16, 20), (1.0,)),
]
EPOCHS, BATCH_SIZE, NUM_CLASSES = 3, 32, 7


def features_and_labels() -> tuple[Tensor, Tensor]:
    features = joint_features(TABLE)
    assert TABLE.labels is not None
    return Standardiser.of(features)(features), TABLE.labels


def trained_alone(columns: slice, learning_rate: float) -> nn.Linear:
    """The same probe by autograd, `torch.optim.SGD` and torch's cosine schedule."""
    features, labels = features_and_labels()
    probe = nn.Linear(columns.stop - columns.start, NUM_CLASSES)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.SGD(probe.parameters(), lr=learning_rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * math.ceil(len(labels) / BATCH_SIZE))
    generator = torch.Generator().manual_seed(5)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH_SIZE):
            loss = nn.functional.cross_entropy(probe(features[rows][:, columns]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return probe


def test_together_equals_alone() -> None:
    features, labels = features_and_labels()
    together = train_probes(
        features, labels, GROUPS, num_classes=NUM_CLASSES, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=5
    )
    for group, probes in zip(GROUPS, together, strict=True):
        logits = probes.logits(features)
        accuracies, losses = accuracy_and_loss(probes, features, labels)
        for index, learning_rate in enumerate(group.learning_rates):
            alone = trained_alone(group.columns, learning_rate)(features[:, group.columns]).detach()
            torch.testing.assert_close(logits[:, index], alone, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(losses[index], nn.functional.cross_entropy(alone, labels), atol=1e-4, rtol=1e-4)
            assert accuracies[index].item() == pytest.approx((alone.argmax(1) == labels).float().mean().item())


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    features = joint_features(TABLE)
    features[:, 3] = 7.7  # a dimension that never changes
    standardised = Standardiser.of(features)(features)
    others = torch.arange(features.shape[1]) != 3
    torch.testing.assert_close(standardised.mean(0), torch.zeros(48), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.std(0, correction=0)[others], torch.ones(47), atol=1e-4, rtol=0)
    assert standardised[:, 3].abs().max() == 0
