"""Overclustering by hand, and its edges."""

from __future__ import annotations

import pytest
import torch

from franca.errors import DataError
from franca.evaluation.dense.confusion import confusion_matrix, scores
from franca.evaluation.dense.overcluster import OverclusterSettings, run
from franca.features.patches import PatchTable
from tests.evaluation.dense.subjects import features_of, painted, subject_of, table_of


def val_of(noise: float, num_images: int = 30) -> PatchTable:
    masks, classes = painted(num_images, seed=3)
    return table_of(features_of(classes, seed=3, noise=noise), masks)


def test_clusters_that_are_classes() -> None:
    settings = OverclusterSettings(num_clusters=[4, 12], seeds=[0, 1], mask_px=None, restarts=3)
    found = run(subject_of(val=val_of(noise=0.01)), settings).metrics
    assert found["miou"] == 1 and found["miou_k12"] == 1  # the fourth cluster is that of ignored patches
    assert found["miou_hungarian"] == 1
    assert found["miou_hungarian_k12"] < 0.8  # nine clusters match no class


def test_constant_features_give_the_majority() -> None:
    masks, classes = painted(40, seed=3)
    masks[:, :8] = 2
    table = table_of(torch.ones(*classes.shape, 5), masks)
    found = run(subject_of(val=table), OverclusterSettings(num_clusters=[4], seeds=[0], mask_px=None)).metrics
    majority = scores(confusion_matrix(torch.full(masks.shape, 2), masks, 3))
    assert found["miou"] == pytest.approx(majority.miou)


def test_masks_are_compared_at_the_size_that_is_asked_for() -> None:
    table = val_of(noise=1.5)
    results = [
        run(subject_of(val=table), OverclusterSettings(num_clusters=[10], seeds=[0], mask_px=size)).metrics["miou"]
        for size in (None, 100, 7)
    ]
    assert results[0] == pytest.approx(results[1], abs=0.02) and results[0] != results[2]


def test_more_clusters_fit_better_and_seeds_tell_the_spread() -> None:
    settings = OverclusterSettings(num_clusters=[3, 60], seeds=[0, 1, 2])
    result = run(subject_of(val=val_of(noise=2.0)), settings)
    assert result.metrics["miou_k60"] > result.metrics["miou"]
    assert result.numbers["miou_std"] > 0 and result.numbers["miou_k60_interval95"] > 0
    assert run(subject_of(val=val_of(noise=2.0)), settings).metrics == result.metrics


def test_centres_are_found_on_few_patches() -> None:
    few = OverclusterSettings(num_clusters=[6], seeds=[0], patches_per_cluster=20, mask_px=None)
    assert run(subject_of(val=val_of(noise=0.01)), few).metrics["miou"] == 1


def test_variants_side_by_side() -> None:
    projector = torch.zeros(8, 8)
    found = run(subject_of(projector, val=val_of(0.01)), OverclusterSettings(num_clusters=[8], prefixes=True)).metrics
    assert found["miou"] == found["miou_d8"] > 0.9 and found["miou_rasa"] < 0.3
    assert {"miou_hungarian_rasa", "miou_d4", "miou_hungarian_rasa_d1"} <= set(found)


def test_wrong_input() -> None:
    with pytest.raises(DataError, match=r"num_clusters=900: only 720 patches are drawn from val="):
        run(subject_of(val=val_of(0.1)), OverclusterSettings(num_clusters=[900]))
    with pytest.raises(DataError, match="have no masks"):
        run(subject_of(val=table_of(torch.zeros(2, 3, 3, 4))), OverclusterSettings(num_clusters=[2]))
    ignored = table_of(torch.zeros(2, 3, 3, 4), torch.full((2, 9, 9), 255, dtype=torch.uint8))
    with pytest.raises(DataError, match=r"val= has no labelled pixel: all masks are 255 \(ignore\)"):
        run(subject_of(val=ignored), OverclusterSettings(num_clusters=[2]))
