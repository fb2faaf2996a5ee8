"""The linear protocol: its grid, how it chooses, and what it must not look at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from franca.errors import DataError
from franca.evaluation.columns import side_by_side
from franca.evaluation.held_out import held_out_rows
from franca.evaluation.linear import LinearSettings, grid, run, wanted
from franca.features.table import FeatureTable, Wanted
from tests.evaluation.clusters import clusters

TRAIN, VAL = clusters(400, seed=0, spread=4), clusters(200, seed=1, spread=4)
QUICK = LinearSettings(epochs=10, probe_batch_size=64, learning_rates=[1e-3, 1e-2, 0.1])


def joint(table: FeatureTable) -> Tensor:
    """All columns of a table but those of PCA."""
    return side_by_side(table.cls, table.patch_mean)


def only(table: FeatureTable, rows: Tensor) -> FeatureTable:
    """The images ``rows`` of a table."""
    assert table.labels is not None and table.patch_mean is not None
    keys = tuple(table.keys[row] for row in rows)
    return replace(table, cls=table.cls[rows], patch_mean=table.patch_mean[rows], labels=table.labels[rows], keys=keys)


def test_about_as_good_as_logistic_regression() -> None:
    result = run(TRAIN, VAL, QUICK)
    references = [LogisticRegression(C=c, max_iter=300).fit(joint(TRAIN), TRAIN.labels) for c in (1e-4, 1e-3)]
    best = max(reference.score(joint(VAL), VAL.labels) for reference in references)
    assert result.metrics["top1"] == pytest.approx(best, abs=0.05)
    assert result.metrics["top1"] < result.metrics["top5"] <= 1
    assert result.settings["winners"]["top1"]["features"] == "last_4+patch_mean"  # five noisy views beat one


def test_the_grid_takes_the_columns_it_names() -> None:
    columns = joint(TRAIN)
    assert TRAIN.patch_mean is not None
    expected = {
        "last_1": TRAIN.embedding,
        "last_1+patch_mean": torch.cat([TRAIN.embedding, TRAIN.patch_mean], 1),
        "last_4": TRAIN.cls.flatten(1),
        "last_4+patch_mean": torch.cat([TRAIN.cls.flatten(1), TRAIN.patch_mean], 1),
    }
    candidates = grid(TRAIN, LinearSettings())
    assert list(dict.fromkeys(candidate.name for candidate in candidates)) == list(expected)
    assert len(candidates) == 52
    for candidate in candidates:
        assert torch.equal(columns[:, candidate.start : candidate.stop], expected[candidate.name])


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
    widths = (16, 8, 4, 2, 1)
    nested, components = [f"top1_d{width}" for width in widths], [f"top1_d{width}_pca" for width in widths]
    assert list(result.metrics) == ["top1", "top5", *nested, *components]
    cut = replace(TRAIN, cls=TRAIN.cls[..., :4]), replace(VAL, cls=VAL.cls[..., :4])
    alone = run(*cut, replace(QUICK, num_blocks=[1], patch_mean=[False]))
    assert alone.metrics["top1"] == result.metrics["top1_d4"]
    assert result.metrics["top1_d1"] < result.metrics["top1_d16"] < result.metrics["top1"]


def test_principal_components_are_those_of_scikit_learn() -> None:
    result = run(TRAIN, VAL, replace(QUICK, prefixes=True))
    pca = PCA(4).fit(TRAIN.embedding)
    turned = [
        replace(table, cls=torch.from_numpy(pca.transform(table.embedding))[:, None].float(), patch_mean=None)
        for table in (TRAIN, VAL)
    ]
    assert run(*turned, QUICK).metrics["top1"] == pytest.approx(result.metrics["top1_d4_pca"], abs=1e-9)


def test_the_published_habit_chooses_on_val_and_says_so() -> None:
    honest, habit = run(TRAIN, VAL, QUICK), run(TRAIN, VAL, replace(QUICK, selection="val"))
    assert habit.metrics["top1"] >= honest.metrics["top1"]
    assert habit.settings["winners"]["top1"]["val_top1"] == habit.metrics["top1"]
    assert any("12 probes on val= itself" in note for note in habit.notes)
    assert not any("val= itself" in note for note in honest.notes)


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert run(TRAIN, VAL, QUICK) == run(TRAIN, VAL, QUICK)


def test_what_a_model_lacks_is_left_out_with_a_note() -> None:
    short = [replace(table, cls=table.cls[:, -2:], patch_mean=None) for table in (TRAIN, VAL)]
    assert {candidate.name for candidate in grid(short[0], LinearSettings())} == {"last_1", "last_2"}
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
