"""Two tables that go together, and all the ways in which they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from franca.errors import DataError
from franca.evaluation.labels import common_labels
from franca.features.table import FeatureTable


def table(labels: list[int] | None, names: tuple[str, ...] | None, width: int = 2) -> FeatureTable:
    n = len(labels or [0, 0])
    tensor = None if labels is None else torch.tensor(labels)
    return FeatureTable(torch.ones(n, 1, width), None, tensor, ("key",) * n, names)


def test_classes_are_matched_by_name() -> None:
    labels = common_labels(table([0, 1, 2], ("a", "b", "c")), table([0, 1, 0], ("c", "a")))
    assert (labels.train.tolist(), labels.val.tolist(), labels.num_classes) == ([0, 1, 2], [2, 0, 2], 3)


def test_what_does_not_go_together() -> None:
    train = table([0, 1], ("a", "b"))
    with pytest.raises(DataError, match="train= has images without a label"):
        common_labels(table(None, ("a", "b")), train)
    with pytest.raises(DataError, match="val= has images without a label"):
        common_labels(train, table([0, 1], None))
    with pytest.raises(DataError, match=r"one class only \(b\)"):
        common_labels(table([1, 1], ("a", "b")), train)
    with pytest.raises(DataError, match="val= has classes that train= lacks: c, d; train= has a, b"):
        common_labels(train, table([0, 1, 2], ("c", "b", "d")))
    with pytest.raises(DataError, match="2 dimensions, those of val= 3"):
        common_labels(train, table([0, 1], ("a", "b"), width=3))


def test_features_that_are_not_numbers() -> None:
    good = table([0, 1], ("a", "b"))
    cls = good.cls.clone()
    cls[1] = torch.nan
    with pytest.raises(DataError, match=r"1 of 2 images of val= .* NaN or infinite"):
        common_labels(good, replace(good, cls=cls))


def test_a_long_list_of_classes_is_cut() -> None:
    names = tuple(f"class {index}" for index in range(9))
    with pytest.raises(DataError, match="class 4 and 4 more; train= has a, b"):
        common_labels(table([0, 1], ("a", "b")), table([0, 8], names))
