"""The evidence on planted features, small: what the page claims must hold."""

from __future__ import annotations

import pytest
import torch

from benchmarks.rasa import RAW, draw, judge, planted, summarise, ways
from franca.rasa.fit import fit


def test_covariance_frees_features_of_position() -> None:
    model, train, val = planted(num_images=40)
    fits = {"covariance": fit(train, ways(len(train))["covariance"])}
    found = judge(model, train, val, fits, seed=0, clusters=20)
    assert found[RAW]["r2"] > 0.8 and abs(found["covariance"]["r2"]) < 0.2
    assert found["covariance"]["incontext"] > found[RAW]["incontext"] + 0.01
    assert found["covariance"]["linear"] > found[RAW]["linear"] - 0.05
    assert len(draw(val, fits).axes) == 2


def test_planted_features_are_the_same_every_time() -> None:
    first, second = (planted(num_images=10)[1] for _ in range(2))
    assert torch.equal(first.patches, second.patches) and first.grid == (9, 12) and len(first) == 5


def test_changes_are_paired() -> None:
    runs = [{RAW: {"a": value}, "way": {"a": value + 0.1}} for value in (0.1, 0.5, 0.9)]
    table = summarise(runs)
    assert table["way"]["a"]["change"] == pytest.approx(0.1)
    assert table["way"]["a"]["interval95"] == pytest.approx(0, abs=1e-12)
    assert table["way"]["a"]["mean"] == pytest.approx(0.6)


def test_the_paper_gets_as_many_steps_as_in_the_paper() -> None:
    assert [ways(number)["paper"].batch_images for number in (17_125, 367, 64)] == [128, 2, 1]
