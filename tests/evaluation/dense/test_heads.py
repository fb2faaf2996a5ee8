"""Segmentation heads against doing it the long way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from franca.errors import DataError
from franca.evaluation.dense.heads import Head, Training, train_heads
from franca.evaluation.dense.variants import variants
from franca.features.patches import PatchTable
from tests.evaluation.dense.subjects import CPU, features_of, painted, table_of

TRAINING = Training("adamw", 0.05, 1e-4, 36, 8, 1, 0)


def randomised(num_classes: int = 5) -> Head:
    head = Head(variants(8)[0], num_classes)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*head.parameters(), head.norm.running_mean):
            assert tensor is not None
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return head.eval()


def test_enlarging_logits_is_enlarging_features() -> None:
    head, patches = randomised(), torch.randn(2, 3, 5, 8)
    found = interpolate(head(patches), size=(24, 40), mode="bilinear")
    features = interpolate(patches.permute(0, 3, 1, 2), size=(24, 40), mode="bilinear")
    expected = head.linear(head.norm(features.permute(0, 2, 3, 1).flatten(0, 2)))
    torch.testing.assert_close(found, expected.view(2, 24, 40, 5).permute(0, 3, 1, 2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_heads_learn_classes(optimizer: str) -> None:
    masks, classes = painted(40, seed=1)
    table = table_of(features_of(classes, seed=1, noise=0.1), masks)
    training = Training(optimizer, 0.05, 1e-4, 60, 8, 1, 0)
    (head,) = train_heads(lambda epoch: table, variants(8), 3, training, CPU)
    predicted = head(table.patches).argmax(1)
    kept = classes != 255
    assert (predicted[kept] == classes[kept]).float().mean() > 0.95


def test_heads_side_by_side_are_heads_alone() -> None:
    masks, classes = painted(20, seed=1)
    table = table_of(features_of(classes, seed=1), masks)
    kinds = variants(8, torch.diag(torch.arange(8.0)), prefixes=True)
    together = train_heads(lambda epoch: table, kinds, 3, TRAINING, CPU)
    for kind, head in zip(kinds, together, strict=True):
        (alone,) = train_heads(lambda epoch: table, [kind], 3, TRAINING, CPU)
        for one, other in zip(head.state_dict().values(), alone.state_dict().values(), strict=True):
            torch.testing.assert_close(one, other)


def test_every_pass_has_its_crops_and_every_step_is_told() -> None:
    masks, classes = painted(20, seed=1)
    table = table_of(features_of(classes, seed=1), masks)
    epochs: list[int] = []
    steps: list[tuple[int, int]] = []

    def crops(epoch: int) -> PatchTable:
        epochs.append(epoch)
        return table

    train_heads(crops, variants(8), 3, Training("sgd", 0.1, 0.0, 8, 8, 2, 0), CPU, lambda *now: steps.append(now))
    assert epochs == [0, 1, 2] and steps == [(done, 8) for done in range(1, 9)]


def test_images_of_a_single_patch() -> None:
    masks, classes = painted(5, seed=1, grid=(1, 1))
    table = table_of(features_of(classes, seed=1), masks)
    (head,) = train_heads(lambda epoch: table, variants(8), 3, Training("adamw", 0.1, 0.0, 6, 2, 2, 0), CPU)
    assert torch.isfinite(head(table.patches)).all()  # 5 images in pairs leave one over, whose variance would be none
    with pytest.raises(DataError, match="a step sees one patch, and batch normalisation needs two"):
        train_heads(lambda epoch: table, variants(8), 3, Training("adamw", 0.1, 0.0, 6, 1, 2, 0), CPU)


def test_heads_start_at_nothing() -> None:
    head = Head(variants(8)[0], 3)
    assert isinstance(head.norm, nn.BatchNorm1d) and not head(torch.randn(2, 2, 2, 8)).any()
