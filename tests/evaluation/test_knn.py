"""k-NN against scikit-learn, and its edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from franca.distributed.in_step import BrokenOff
from franca.errors import DataError
from franca.evaluation import neighbours
from franca.evaluation.knn import KnnSettings, check_before, run, vote
from franca.evaluation.known import Known
from franca.features.table import FeatureTable
from tests.distributed.ranks import run_ranks
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
        check_before(KnnSettings(k=301), Known({"train": 300, "val": 9}, {}))
    check_before(KnnSettings(k=300), Known({"train": 300, "val": 9}, {}))


def test_too_little_memory_is_told_once_the_width_is_known() -> None:
    images = {"train": 10_000, "val": 100}
    settings = KnnSettings(memory_mib=100)
    check_before(settings, Known(images, {}, width=512))
    with pytest.raises(
        DataError, match=r"memory_mib=100 is too little for k=200 .* 1024 dim.*memory_mib=\d+"
    ) as caught:
        check_before(settings, Known(images, {}, width=1024))
    least = int(str(caught.value).rpartition("=")[2])
    check_before(replace(settings, memory_mib=least), Known(images, {}, width=1024))
    with pytest.raises(DataError, match="memory_mib"):
        check_before(replace(settings, memory_mib=least - 1), Known(images, {}, width=1024))


def test_no_top5_for_few_classes() -> None:
    train, val = clusters(40, seed=0, num_classes=5), clusters(20, seed=1, num_classes=5)
    assert "top5" not in run(train, val, KnnSettings()).metrics


def few_on_ranks(rank: int) -> Mapping[str, float]:
    """One image on two ranks."""
    assert VAL.labels is not None
    one = replace(VAL, cls=VAL.cls[:1], patch_mean=None, labels=VAL.labels[:1], keys=VAL.keys[:1])
    return run(TRAIN, one, KnnSettings(k=5, other_k=[])).metrics


def test_more_ranks_than_images() -> None:
    assert run_ranks(few_on_ranks) == [few_on_ranks(0)] * 2


def stopped_on_ranks(rank: int) -> int:
    """How often a rank was asked before both broke off; each has 60 images, in blocks of 16."""
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(rank)
        return rank == 1 and len(asked) == 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours.Blocks, "within", lambda *args, **told: neighbours.Blocks(16, 300))
        with pytest.raises(BrokenOff):
            run(TRAIN, VAL, KnnSettings(k=5, other_k=[]), should_stop=should_stop)
    return len(asked)


def test_one_rank_that_is_to_stop_breaks_off_the_search_of_all() -> None:
    assert run_ranks(stopped_on_ranks) == [2, 2]
