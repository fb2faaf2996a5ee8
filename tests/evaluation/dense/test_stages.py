"""Bars over several pieces."""

from __future__ import annotations

from dataclasses import replace

from franca.evaluation.dense.incontext import IncontextSettings
from franca.evaluation.dense.incontext import run as incontext
from franca.evaluation.dense.overcluster import OverclusterSettings
from franca.evaluation.dense.overcluster import run as overcluster
from franca.evaluation.dense.stages import Stages
from tests.evaluation.dense.subjects import features_of, painted, subject_of, table_of

Told = list[tuple[str, int, int]]


def test_a_piece_that_ends_early_counts_as_whole() -> None:
    told: Told = []
    stages = Stages(lambda *now: told.append(now), "clusters", num_pieces=2, steps_each=3)
    stages.step()
    stages.end_piece()
    for _ in range(3):
        stages.step()
    stages.end_piece()
    assert told == [("clusters", done, 6) for done in (1, 3, 4, 5, 6, 6)]


def test_nobody_need_listen() -> None:
    Stages(None, "clusters", 1, 1).step()


def test_searches_and_clusterings_are_told_to_their_end() -> None:
    told: Told = []
    masks, classes = painted(40, seed=1)
    table = table_of(features_of(classes, seed=1), masks)
    subject = subject_of(train=table, val=table)
    subject = replace(subject, progress=lambda *now: told.append(now))
    incontext(subject, IncontextSettings(k=3))  # all patches fit: one search of the five that were foreseen
    overcluster(subject, OverclusterSettings(num_clusters=[4], seeds=[0, 1], max_iterations=5))
    for name in ("search", "clusters"):
        counts = [(done, total) for called, done, total in told if called == name]
        assert counts == sorted(counts) and len(counts) > 2 and counts[-1][0] == counts[-1][1]
