"""The protocol with a grid of penalties: how it chooses, and its edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from franca.evaluation.held_out import held_out_rows
from franca.evaluation.logreg import LogregSettings, run, values_of_c
from tests.evaluation.clusters import clusters

TRAIN, VAL = clusters(500, seed=0, width=12, spread=3), clusters(300, seed=1, width=12, spread=3)
QUICK = LogregSettings(num_c=12)


def test_the_papers_grid_of_penalties() -> None:
    values = values_of_c(LogregSettings())
    assert len(values) == 45
    assert values[0] == pytest.approx(1e-6) and values[-1] == pytest.approx(1e5)
    assert values[1] / values[0] == pytest.approx(values[-1] / values[-2])


def test_as_scikit_learn_chooses_and_judges() -> None:
    result = run(TRAIN, VAL, QUICK)
    assert TRAIN.labels is not None and VAL.labels is not None
    held_out = held_out_rows(TRAIN.labels, 0.1, seed=0)
    scores = {}
    for c in values_of_c(QUICK):
        tried = LogisticRegression(C=c, max_iter=5000).fit(TRAIN.embedding[~held_out], TRAIN.labels[~held_out])
        scores[c] = tried.score(TRAIN.embedding[held_out], TRAIN.labels[held_out])
    winner = result.settings["winners"]["top1"]
    assert winner["held_out_top1"] == pytest.approx(max(scores.values()), abs=1e-6)
    assert scores[winner["c"]] == pytest.approx(max(scores.values()), abs=1e-6)
    reference = LogisticRegression(C=winner["c"], max_iter=5000).fit(TRAIN.embedding, TRAIN.labels)
    assert result.metrics["top1"] == pytest.approx(reference.score(VAL.embedding, VAL.labels), abs=0.002)
    assert 0.3 < result.metrics["top1"] < result.metrics["top5"] <= 1


def test_the_choice_does_not_depend_on_validation_images() -> None:
    assert VAL.labels is not None
    wrong = run(TRAIN, replace(VAL, labels=(VAL.labels + 1) % 7), QUICK)
    assert wrong.settings["winners"] == run(TRAIN, VAL, QUICK).settings["winners"]


def test_prefixes_choose_for_themselves() -> None:
    result = run(TRAIN, VAL, replace(QUICK, prefixes=True))
    assert list(result.metrics) == [
        *("top1", "top5"),
        *("top1_d12", "top1_d6", "top1_d3"),
        *("top1_d12_pca", "top1_d6_pca", "top1_d3_pca"),
    ]
    alone = run(*(replace(table, cls=table.cls[..., :3]) for table in (TRAIN, VAL)), QUICK)
    assert result.metrics["top1_d3"] == pytest.approx(alone.metrics["top1"], abs=1e-6)
    assert result.metrics["top1_d12_pca"] == pytest.approx(result.metrics["top1"], abs=0.01)  # only turned


def test_a_winner_at_the_edge_and_fits_that_were_stopped_are_told() -> None:
    assert any("edge of the grid" in note for note in run(TRAIN, VAL, replace(QUICK, powers_of_c=[-9.0, -8.0])).notes)
    assert any("were stopped after 1 iterations" in n for n in run(TRAIN, VAL, replace(QUICK, max_iterations=1)).notes)


def test_features_in_half_precision_are_taken() -> None:
    half = [replace(table, cls=table.cls.to(torch.float16)) for table in (TRAIN, VAL)]
    assert run(half[0], half[1], QUICK).metrics["top1"] == pytest.approx(
        run(TRAIN, VAL, QUICK).metrics["top1"], abs=0.01
    )
