"""The picture of prefixes: what is drawn, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from franca.evaluation.curve import draw_prefixes
from franca.evaluation.report import Result

KNN = Result("knn", {"top1": 0.5, "top1_d4": 0.5, "top1_d2": 0.25, "top1_d4_pca": 0.45, "top1_d2_pca": 0.3}, {})
FEWSHOT = Result(
    "fewshot", {"top1_1shot_d4": 0.2, "top1_1shot_d2": 0.1, "top1_5shot_d4": 0.4, "top1_5shot_d2": 0.3}, {}
)


def test_a_panel_for_each_protocol(tmp_path: Path) -> None:
    assert draw_prefixes([KNN], tmp_path / "new" / "one.png", title="a model")
    assert draw_prefixes([KNN, FEWSHOT, Result("linear", {"top1": 0.5}, {})], tmp_path / "two.png")
    one, two = Image.open(tmp_path / "new" / "one.png"), Image.open(tmp_path / "two.png")
    assert two.height == one.height and two.width == 2 * one.width
    assert len(np.unique(np.asarray(one.convert("RGB")).reshape(-1, 3), axis=0)) > 10  # not a blank sheet


def test_other_numbers_give_another_picture(tmp_path: Path) -> None:
    lower = Result("knn", {**KNN.metrics, "top1_d2": 0.1}, {})
    for name, result in (("a", KNN), ("b", KNN), ("c", lower)):
        draw_prefixes([result], tmp_path / f"{name}.png")
    first, same, other = (Image.open(tmp_path / f"{name}.png").tobytes() for name in "abc")
    assert first == same != other


def test_nothing_is_drawn_where_nobody_asked(tmp_path: Path) -> None:
    assert not draw_prefixes([Result("knn", {"top1": 0.5}, {})], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
