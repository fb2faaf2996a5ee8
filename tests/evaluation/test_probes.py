"""Probes trained together against each trained alone by torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from franca.evaluation.columns import Standardiser, side_by_side
from franca.evaluation.probes import Candidate, Trainer, batches_of, judge
from tests.evaluation.clusters import clusters

TABLE = clusters(100, seed=0, layers=2)
CANDIDATES = [
    Candidate("all", 0, 48, 0.01),
    Candidate("last", 16, 32, 0.1),
    Candidate("all", 0, 48, 0.3),
    Candidate("cut", 16, 20, 1.0),
]
EPOCHS, BATCH_SIZE, NUM_CLASSES = 3, 32, 7


def features_and_labels() -> tuple[Tensor, Tensor]:
    features = side_by_side(TABLE.cls, TABLE.patch_mean)
    assert TABLE.labels is not None
    return Standardiser.of([features])(features), TABLE.labels


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
    steps = EPOCHS * math.ceil(len(labels) / BATCH_SIZE)
    trainer = Trainer(CANDIDATES, num_classes=NUM_CLASSES, num_steps=steps, device=features.device)
    for rows in batches_of(torch.arange(len(labels)), epochs=EPOCHS, batch_size=BATCH_SIZE, seed=5):
        trainer.step(features[rows], labels[rows])
    assert [len(group.candidates) for group in trainer.groups] == [2, 1, 1]
    scores = judge(trainer.groups, [(features[:30], labels[:30]), (features[30:], labels[30:])])
    assert set(scores) == set(CANDIDATES)
    for group in trainer.groups:
        for index, candidate in enumerate(group.candidates):
            alone = trained_alone(group.columns, candidate.learning_rate)(features[:, group.columns]).detach()
            torch.testing.assert_close(group.logits(features)[:, index], alone, atol=1e-4, rtol=1e-4)
            loss = nn.functional.cross_entropy(alone, labels)
            assert scores[candidate].loss == pytest.approx(loss.item(), abs=1e-4)
            assert scores[candidate].accuracy == pytest.approx((alone.argmax(1) == labels).float().mean().item())
