"""Widths, their names, and the table of nested prefixes beside PCA."""

from __future__ import annotations

import io

import torch
from rich.console import Console

from franca.evaluation.prefixes import PrefixRow, View, prefix_rows, prefix_table, views
from franca.evaluation.report import Result
from tests.evaluation.clusters import clusters

EMBEDDING = clusters(60, seed=0).embedding
METRICS = {"top1": 0.5, "top5": 0.9, "top1_d4": 0.5, "top1_d2": 0.25, "top1_d4_pca": 0.45, "top1_d2_pca": 0.3}


def test_every_width_is_seen_nested_and_by_pca() -> None:
    found = views(EMBEDDING)
    assert [view.metric("top1") for view in found] == [
        *(f"top1_d{width}" for width in (16, 8, 4, 2, 1)),
        *(f"top1_d{width}_pca" for width in (16, 8, 4, 2, 1)),
    ]
    assert torch.equal(found[2](EMBEDDING), EMBEDDING[:, :4])
    assert found[7](EMBEDDING).shape == (60, 4)
    # No four columns keep more variance than the first four components.
    assert found[7](EMBEDDING).var(0).sum() > EMBEDDING[:, :4].var(0).sum()


def test_what_was_found_is_read_back_by_width() -> None:
    assert prefix_rows(METRICS) == [PrefixRow("top1", 4, 0.5, 0.45), PrefixRow("top1", 2, 0.25, 0.3)]
    assert prefix_rows({"rankme": 3.0, "rankme_d4": 2.0}) == [PrefixRow("rankme", 4, 2.0, None)]
    assert prefix_rows({"top1_1shot": 0.5, "top1_1shot_std": 0.1}) == []


def test_names_are_written_and_read_by_the_same_rule() -> None:
    for view in views(EMBEDDING):
        name = view.metric("top1")
        row = prefix_rows({name.removesuffix("_pca"): 0.1, name: 0.2})[0]
        assert (row.metric, row.width, row.pca is None) == ("top1", view.width, view.pca is None)


def test_the_table_has_both_side_by_side() -> None:
    table = prefix_table([Result("knn", METRICS, {}), Result("health", {}, {})])
    assert table is not None
    text = io.StringIO()
    Console(file=text, width=80).print(table)
    lines = [line for line in text.getvalue().splitlines() if "25.00" in line]
    assert len(lines) == 1 and "30.00" in lines[0] and " 2 " in lines[0]


def test_no_table_where_nobody_asked() -> None:
    assert prefix_table([Result("knn", {"top1": 0.5}, {})]) is None


def test_a_view_of_the_whole_is_known() -> None:
    assert View(16) in views(EMBEDDING)
