"""A few images a class: which are drawn, what is reported, and classes that are too small."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize

from franca.errors import DataError
from franca.evaluation.fewshot import FewshotSettings, draw_rows, possible_shots, run
from tests.evaluation.clusters import clusters

TRAIN, VAL = clusters(300, seed=0), clusters(150, seed=1)
QUICK = FewshotSettings(shots=[1, 5], seeds=[0, 1, 2])


def test_mean_and_deviation_are_those_of_scikit_learn() -> None:
    result = run(TRAIN, VAL, QUICK)
    assert TRAIN.labels is not None and VAL.labels is not None
    for shots in (1, 5):
        top1 = []
        for seed in (0, 1, 2):
            rows = draw_rows(TRAIN.labels, shots, seed)
            model = LogisticRegression(C=1.0, max_iter=5000).fit(normalize(TRAIN.embedding[rows]), TRAIN.labels[rows])
            top1.append(model.score(normalize(VAL.embedding), VAL.labels))
        assert result.metrics[f"top1_{shots}shot"] == pytest.approx(statistics.fmean(top1), abs=0.003)
        assert result.metrics[f"top1_{shots}shot_std"] == pytest.approx(statistics.stdev(top1), abs=0.005)
    assert result.metrics["top1_1shot"] < result.metrics["top1_5shot"]


def test_the_interval_of_the_mean_by_hand() -> None:
    result = run(TRAIN, VAL, QUICK)
    margin = 4.3027 * result.metrics["top1_1shot_std"] / 3**0.5  # Student's t, two degrees of freedom, 95 %
    assert f"{100 * result.metrics['top1_1shot']:.2f} ± {100 * margin:.2f}, the 95% interval" in result.notes[0]


def test_one_draw_has_no_deviation() -> None:
    result = run(TRAIN, VAL, replace(QUICK, seeds=[4]))
    assert list(result.metrics) == ["top1_1shot", "top1_5shot"] and result.notes == ()


def test_draws_have_as_many_of_every_class_and_grow() -> None:
    assert TRAIN.labels is not None
    few, more = (draw_rows(TRAIN.labels, number, seed=3) for number in (2, 5))
    assert torch.equal(TRAIN.labels[more].bincount(), torch.full((7,), 5))
    assert set(few.tolist()) < set(more.tolist())
    assert set(few.tolist()) != set(draw_rows(TRAIN.labels, 2, seed=4).tolist())


def test_numbers_that_a_class_does_not_have_are_left_out() -> None:
    counts = {"cat": 9, "dog": 3}
    assert possible_shots(counts, [1, 2, 5, 10]) == (
        [1, 2],
        ["5, 10 shots left out: class dog of train= has 3 images"],
    )
    with pytest.raises(DataError, match=r"shots=\[5\]: class dog of train= has 3 images; lower shots"):
        possible_shots(counts, [5])


def test_prefixes_beside_pca() -> None:
    result = run(TRAIN, VAL, replace(QUICK, shots=[5], prefixes=True))
    widths = (16, 8, 4, 2, 1)
    expected = [f"top1_5shot_d{width}{suffix}" for suffix in ("", "_pca") for width in widths]
    assert list(result.metrics) == ["top1_5shot", "top1_5shot_std", *expected]
    cut = (replace(table, cls=table.cls[..., :4]) for table in (TRAIN, VAL))
    assert result.metrics["top1_5shot_d4"] == pytest.approx(run(*cut, replace(QUICK, shots=[5])).metrics["top1_5shot"])


def test_draws_are_the_first_images_of_each_class_in_one_random_order() -> None:
    assert TRAIN.labels is not None
    order = torch.randperm(len(TRAIN.labels), generator=torch.Generator().manual_seed(4))
    by_hand = torch.cat([order[TRAIN.labels[order] == label][:3] for label in range(7)])
    assert torch.equal(draw_rows(TRAIN.labels, 3, seed=4), by_hand)
