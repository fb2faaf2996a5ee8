"""Protocols that share their work among ranks find on each what one process finds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from franca.evaluation import fewshot, knn, linear, logreg
from tests.distributed.ranks import run_ranks
from tests.evaluation.clusters import clusters
from tests.evaluation.crops import cropped

TRAIN, VAL = clusters(300, seed=0, layers=2), clusters(101, seed=1, layers=2)
LINEAR = linear.LinearSettings(epochs=3, num_blocks=[1, 2], learning_rates=[0.01, 0.1, 0.3], prefixes=True)


def everything(rank: int = 0) -> dict[str, Mapping[str, float]]:
    """Metrics of every protocol; one that has less to share than there are ranks too."""
    return {
        "knn": knn.run(TRAIN, VAL, knn.KnnSettings(prefixes=True)).metrics,
        "linear": linear.run(TRAIN, VAL, LINEAR).metrics,
        "augmented": cropped(linear.LinearSettings(augment=True, epochs=1, learning_rates=[0.01, 0.1])).metrics,
        "logreg": logreg.run(TRAIN, VAL, logreg.LogregSettings(num_c=3, powers_of_c=[-4.0, 0.0])).metrics,
        "one C": logreg.run(TRAIN, VAL, logreg.LogregSettings(num_c=1)).metrics,
        "fewshot": fewshot.run(TRAIN, VAL, fewshot.FewshotSettings(shots=[1, 3], seeds=[0, 1, 2])).metrics,
    }


def test_several_ranks_find_the_same() -> None:
    alone = everything()
    for found in run_ranks(everything):
        assert found.keys() == alone.keys()
        for name, metrics in alone.items():
            assert list(found[name]) == list(metrics)
            # Products of other shapes round otherwise, which may tip one image.
            assert found[name] == pytest.approx(metrics, abs=1.01 / len(VAL))
