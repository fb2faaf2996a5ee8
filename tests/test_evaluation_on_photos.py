"""Protocols against scikit-learn on photos, whose colours in a grid stand in for features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from franca.data.sources import open_source
from franca.evaluation import knn, linear, logreg
from franca.evaluation.columns import Columns
from franca.features.extract import extract
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.settings import FeatureSettings
from franca.features.table import CLASS_EMBEDDING, FeatureTable

POINTS = 0.002  # two tenths of a point


class ColourGrid(nn.Module):
    """Mean colours of 6 x 6 fields, and of each how much they vary within: 144 numbers, no network."""

    def forward(self, images: Tensor) -> Tensor:
        means = adaptive_avg_pool2d(images, 6)
        return torch.cat([means, adaptive_avg_pool2d(images.mean(1, keepdim=True).square(), 6)], dim=1).flatten(1)


@dataclass(frozen=True)
class Photos:
    """Features of the two sets."""

    train: FeatureTable
    val: FeatureTable


@pytest.fixture(scope="session")
def photos(test_data: Path) -> Photos:
    settings = FeatureSettings(image_size_px=48, workers=0, precision="fp32", cache=False)

    def table(pattern: str) -> FeatureTable:
        source = open_source(str(test_data / "photos" / pattern), labels=True)
        return extract(Job(FeatureModel(ColourGrid()), source, CLASS_EMBEDDING, settings, torch.device("cpu")))

    return Photos(table("imagenette-train-*.tar"), table("imagenette-val-*.tar"))


@pytest.mark.slow
def test_the_vote_of_neighbours(photos: Photos) -> None:
    found = knn.run(photos.train, photos.val, knn.KnnSettings()).metrics
    for k, metric in ((10, "top1_k10"), (20, "top1"), (200, "top1_k200")):
        model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07))
        model.fit(photos.train.embedding.double().numpy(), photos.train.labels)
        # One photo in four thousand may have two neighbours that fp32 cannot order.
        assert found[metric] == pytest.approx(
            model.score(photos.val.embedding.double().numpy(), photos.val.labels), abs=0.0006
        )


@pytest.mark.slow
def test_logistic_regression(photos: Photos) -> None:
    result = logreg.run(photos.train, photos.val, logreg.LogregSettings(num_c=12))
    c = result.settings["winners"]["top1"]["c"]
    reference = LogisticRegression(C=c, max_iter=5000).fit(photos.train.embedding, photos.train.labels)
    assert result.metrics["top1"] == pytest.approx(reference.score(photos.val.embedding, photos.val.labels), abs=POINTS)


@pytest.mark.slow
def test_linear_probes_are_no_worse_than_the_optimum(photos: Photos) -> None:
    """Of softmax regression without and with a little penalty on the same standardised features."""
    found = linear.run(photos.train, photos.val, linear.LinearSettings(num_blocks=[1], patch_mean=[False]))
    columns = Columns.of(photos.train, torch.device("cpu"))
    train, val = (columns.rows(table, torch.arange(len(table))) for table in (photos.train, photos.val))
    for c in (1e-2, 1.0, 1e4):
        reference = LogisticRegression(C=c, max_iter=2000).fit(train, photos.train.labels)
        assert found.metrics["top1"] > reference.score(val, photos.val.labels) - POINTS
