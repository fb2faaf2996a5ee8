"""Columns of probes: what they hold, how they are standardised, and that blocks change nothing."""

from __future__ import annotations

import pytest
import torch

from franca.evaluation import columns
from franca.evaluation.columns import Columns, Standardiser, resident, side_by_side
from franca.evaluation.pca import Pca
from tests.evaluation.clusters import clusters

TABLE = clusters(100, seed=0, layers=2)
CPU = torch.device("cpu")


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    features = side_by_side(TABLE.cls, TABLE.patch_mean)
    features[:, 3] = 7.7  # a dimension that never changes
    standardised = Standardiser.of(features.split(30))(features)
    others = torch.arange(features.shape[1]) != 3
    torch.testing.assert_close(standardised.mean(0), torch.zeros(48), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.std(0, correction=0)[others], torch.ones(47), atol=1e-4, rtol=0)
    assert standardised[:, 3].abs().max() == 0


def test_components_come_last_and_are_of_the_last_class_embedding() -> None:
    pca = Pca.of(TABLE.embedding)
    joint = side_by_side(TABLE.cls, TABLE.patch_mean, pca)
    assert joint.shape == (100, 4 * 16)
    assert torch.equal(joint[:, :48], side_by_side(TABLE.cls, TABLE.patch_mean))
    assert torch.equal(joint[:, 48:], pca(TABLE.embedding))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Columns.of(TABLE, CPU, pca=True)
    expected = whole(TABLE.cls, TABLE.patch_mean)
    monkeypatch.setattr(columns, "ROWS", 7)
    cut = Columns.of(TABLE, CPU, pca=True)
    rows, blocks = zip(*cut.blocks(TABLE, torch.arange(100)), strict=True)
    assert len(blocks) == 15 and torch.cat(rows).tolist() == list(range(100))
    torch.testing.assert_close(torch.cat(blocks), expected, atol=1e-4, rtol=1e-4)


def test_on_the_cpu_a_table_stays_where_it_is() -> None:
    assert resident(TABLE, CPU) is TABLE
