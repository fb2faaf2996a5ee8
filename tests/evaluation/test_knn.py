"""k-NN against scikit-learn, and its edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from franca.errors import DataError
from franca.evaluation import neighbours
from franca.evaluation.knn import KnnSettings, check_before, run, vote
from franca.features.table import FeatureTable
from tests.evaluation.clusters import clusters

Votes = NDArray[np.float64]  # [m, C]
TRAIN, VAL = clusters(300, seed=0), clusters(120, seed=1)


def reference(
    train: FeatureTable, val: FeatureTable, k: int, temperature: float = 0.07, width: int | None = None
) -> Votes:
    """Votes of every class, by scikit-learn in double precision."""

    def weights(distances: Votes) -> Votes:
        return np.exp((1 - distances) / temperature)

    model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
    model.fit(train.embedding[:, :width].double().numpy(), train.labels)
    return model.predict_proba(val.embedding[:, :width].double().numpy())


def top(votes: Votes, labels: torch.Tensor | None, at: int = 1) -> float:
    assert labels is not None
    best = np.argsort(-votes, axis=1)[:, :at]
    return float((best == labels.numpy()[:, None]).any(1).mean())


@pytest.mark.parametrize("temperature", [0.07, 0.01, 3.0])
def test_equal_to_scikit_learn(temperature: float) -> None:
    found = run(TRAIN, VAL, KnnSettings(temperature=temperature)).metrics
    for k in (10, 20, 100, 200):
        votes = reference(TRAIN, VAL, k, temperature)
        assert found["top1" if k == 20 else f"top1_k{k}"] == pytest.approx(top(votes, VAL.labels))
    assert found["top5"] == pytest.approx(top(reference(TRAIN, VAL, 20, temperature), VAL.labels, at=5))
    assert 0.3 < found["top1"] < 0.99  # neither chance nor everything


def test_the_vote_itself_is_scikit_learns() -> None:
    votes = reference(TRAIN, VAL, 20)
    similarity, rows = torch.cosine_similarity(
        VAL.embedding[:, None].double(), TRAIN.embedding[None].double(), dim=-1
    ).topk(20)
    assert TRAIN.labels is not None
    ours = vote(similarity, TRAIN.labels[rows], 7, 0.07).clamp(min=0)
    np.testing.assert_allclose((ours / ours.sum(1, keepdim=True)).numpy(), votes, atol=1e-9)


def test_prefixes_are_cut_before_they_are_normalised() -> None:
    found = run(TRAIN, VAL, KnnSettings(prefixes=True)).metrics
    for width in (16, 8, 4, 2):  # with one dimension all neighbours are alike, and any k of them may vote
        assert found[f"top1_d{width}"] == pytest.approx(top(reference(TRAIN, VAL, 20, width=width), VAL.labels))
    assert found["top1_d16"] == found["top1"]


def test_beside_prefixes_stands_pca_fitted_to_train_alone() -> None:
    found = run(TRAIN, VAL, KnnSettings(prefixes=True)).metrics
    for width in (16, 8, 4, 2):
        pca = PCA(width).fit(TRAIN.embedding.double().numpy())
        turned = [replace(t, cls=torch.from_numpy(pca.transform(t.embedding.double()))[:, None]) for t in (TRAIN, VAL)]
        assert found[f"top1_d{width}_pca"] == pytest.approx(top(reference(*turned, 20), VAL.labels), abs=0.009)


def test_embeddings_that_are_almost_parallel_are_still_told_apart() -> None:
    """A network at its start maps all images to nearly one point; rounding must not decide there."""
    far = torch.full((16,), 1e4)
    train, val = (replace(table, cls=table.cls + far) for table in (TRAIN, VAL))
    for k in (10, 20):
        found = run(train, val, KnnSettings(k=k, other_k=[])).metrics["top1"]
        assert found == pytest.approx(top(reference(train, val, k), VAL.labels), abs=0.02)
        assert found > 0.3


def test_less_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = KnnSettings(prefixes=True, k=5, other_k=[10], memory_mib=1)
    whole = run(TRAIN, VAL, settings).metrics
    monkeypatch.setattr(neighbours, "MAX_BANK_ROWS", 31)
    cut = run(TRAIN, VAL, settings).metrics
    assert whole.keys() == cut.keys()
    for metric in whole:
        if "_d1_pca" not in metric and not metric.endswith("_d1"):  # in one dimension all neighbours are alike
            assert cut[metric] == whole[metric]


def test_images_in_memory_find_themselves() -> None:
    assert run(TRAIN, TRAIN, KnnSettings(k=1, other_k=[])).metrics["top1"] == 1


def test_order_and_names_of_classes_do_not_matter() -> None:
    assert VAL.class_names is not None and VAL.labels is not None
    renamed = replace(VAL, class_names=VAL.class_names[::-1], labels=6 - VAL.labels)
    assert run(TRAIN, renamed, KnnSettings()).metrics == run(TRAIN, VAL, KnnSettings()).metrics


def test_a_k_beyond_train_is_left_out_with_a_note() -> None:
    result = run(TRAIN, VAL, KnnSettings(other_k=[10, 301, 20, 999]))
    assert list(result.metrics) == ["top1", "top5", "top1_k10"]
    assert result.notes == ("k = 301, 999 left out: train= has 300 images",)


def test_the_headline_needs_k_images() -> None:
    with pytest.raises(DataError, match="k=301 neighbours are asked for, train= has 300 images; lower k"):
        run(TRAIN, VAL, KnnSettings(k=301))
    with pytest.raises(DataError, match="lower k"):
        check_before(KnnSettings(k=301), {"train": 300})
    check_before(KnnSettings(k=300), {"train": 300})


def test_no_top5_for_few_classes() -> None:
    train, val = clusters(40, seed=0, num_classes=5), clusters(20, seed=1, num_classes=5)
    assert "top5" not in run(train, val, KnnSettings()).metrics
