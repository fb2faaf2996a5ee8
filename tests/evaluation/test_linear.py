"""The linear protocol: its grid, how it chooses, and what it must not look at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from franca.errors import DataError
from franca.evaluation.linear import LinearSettings, grid, held_out_rows, joint_features, run, wanted
from franca.features.table import FeatureTable, Wanted
from tests.evaluation.clusters import clusters

TRAIN, VAL = clusters(400, seed=0, spread=4), clusters(200, seed=1, spread=4)
QUICK = LinearSettings(epochs=10, probe_batch_size=64, learning_rates=[1e-3, 1e-2, 0.1])


def only(table: FeatureTable, rows: Tensor) -> FeatureTable:
    """The images ``rows`` of a table."""
    assert table.labels is not None and table.patch_mean is not None
    keys = tuple(table.keys[row] for row in rows)
    return replace(table, cls=table.cls[rows], patch_mean=table.patch_mean[rows], labels=table.labels[rows], keys=keys)


def test_about_as_good_as_logistic_regression() -> None:
    result = run(TRAIN, VAL, QUICK)
    references = [LogisticRegression(C=c, max_iter=300).fit(joint_features(TRAIN), TRAIN.labels) for c in (1e-4, 1e-3)]
    best = max(reference.score(joint_features(VAL), VAL.labels) for reference in references)
    assert result.metrics["top1"] == pytest.approx(best, abs=0.05)
    assert result.metrics["top1"] < result.metrics["top5"] <= 1
    assert result.settings["winners"]["top1"]["features"] == "last_4+patch_mean"  # five noisy views beat one


def test_the_grid_takes_the_columns_it_names() -> None:
    joint = joint_features(TRAIN)
    assert TRAIN.patch_mean is not None
    expected = {
        "last_1": TRAIN.embedding,
        "last_1+patch_mean": torch.cat([TRAIN.embedding, TRAIN.patch_mean], 1),
        "last_4": TRAIN.cls.flatten(1),
        "last_4+patch_mean": torch.cat([TRAIN.cls.flatten(1), TRAIN.patch_mean], 1),
    }
    groups = grid(TRAIN, LinearSettings())
    assert [group.name for group in groups] == list(expected)
    for group in groups:
        assert torch.equal(joint[:, group.columns], expected[group.name])
        assert len(group.learning_rates) == 13


def test_the_choice_does_not_depend_on_validation_images() -> None:
    assert VAL.labels is not None
    shuffled = replace(VAL, labels=(VAL.labels + 1) % 7)
    honest, wrong = run(TRAIN, VAL, QUICK), run(TRAIN, shuffled, QUICK)
    assert honest.settings["winners"] == wrong.settings["winners"]
    assert honest.metrics["top1"] > 0.5 > wrong.metrics["top1"]


def test_the_winner_is_refitted_on_held_out_images_too() -> None:
    """With one learning rate there is nothing to choose: how many are held out cannot matter, but fewer images do."""
    settings = replace(QUICK, learning_rates=[0.01], num_blocks=[4], patch_mean=[True])
    top1 = [run(TRAIN, VAL, replace(settings, held_out_fraction=share)).metrics["top1"] for share in (0.1, 0.9)]
    assert top1[0] == top1[1]
    assert TRAIN.labels is not None
    kept = (~held_out_rows(TRAIN.labels, 0.9, seed=0)).nonzero()[:, 0]
    assert run(only(TRAIN, kept), VAL, settings).metrics["top1"] < top1[0] - 0.05


def test_prefixes_are_probes_of_their_own() -> None:
    result = run(TRAIN, VAL, replace(QUICK, prefixes=True))
    assert list(result.metrics) == ["top1", "top5", "top1_d16", "top1_d8", "top1_d4", "top1_d2", "top1_d1"]
    cut = replace(TRAIN, cls=TRAIN.cls[..., :4]), replace(VAL, cls=VAL.cls[..., :4])
    alone = run(*cut, replace(QUICK, num_blocks=[1], patch_mean=[False]))
    assert alone.metrics["top1"] == result.metrics["top1_d4"]
    assert result.metrics["top1_d1"] < result.metrics["top1_d16"] < result.metrics["top1"]


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert run(TRAIN, VAL, QUICK) == run(TRAIN, VAL, QUICK)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_held_out_images_are_of_every_class(fraction: float) -> None:
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 2 + [3])
    held_out = held_out_rows(labels, fraction, seed=1)
    counts = [int(held_out[labels == label].sum()) for label in range(4)]
    assert counts == [round(50 * fraction), round(10 * fraction), 1, 0]
    assert not torch.equal(held_out, held_out_rows(labels, fraction, seed=2))


def test_what_a_model_lacks_is_left_out_with_a_note() -> None:
    short = [replace(table, cls=table.cls[:, -2:], patch_mean=None) for table in (TRAIN, VAL)]
    assert [group.name for group in grid(short[0], LinearSettings())] == ["last_1", "last_2"]
    notes = run(*short, QUICK).notes
    assert any("2 block(s)" in note for note in notes) and any("no patch embeddings" in note for note in notes)


def test_a_winner_at_the_edge_of_the_grid_is_told() -> None:
    notes = run(TRAIN, VAL, replace(QUICK, learning_rates=[1e-7, 1e-6])).notes
    assert any("edge of the grid" in note for note in notes)


def test_one_image_per_class_is_too_few() -> None:
    rows = [int((TRAIN.labels == label).nonzero()[0]) for label in range(7)]
    with pytest.raises(DataError, match="one image per class"):
        run(only(TRAIN, torch.tensor(rows)), VAL, QUICK)


def test_wanted_features() -> None:
    assert wanted(LinearSettings()) == Wanted(layers=4, patch_mean=True)
    assert wanted(LinearSettings(num_blocks=[1, 2], patch_mean=[False])) == Wanted(layers=2)
