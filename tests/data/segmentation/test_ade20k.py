"""ADE20K as it is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from franca.data.segmentation.ade20k import open_split
from franca.errors import DataError
from tests.data.segmentation.folders import ade_folder, mask_of


def test_others_are_ignored_and_classes_count_from_0(tmp_path: Path) -> None:
    source = open_split("x:training", ade_folder(tmp_path), "training", None)
    sample = source.read(1)
    assert sample.key == "images/training/ADE_2.jpg" and sample.mask is not None
    np.testing.assert_array_equal(sample.mask.numpy(), mask_of(255, 0, 149))
    assert len(source.mask_names) == 150 and source.mask_names[149] == "class 150"


def test_names_of_the_table_that_comes_with_it(tmp_path: Path) -> None:
    lines = "".join(f"{i}\t0.1\t10\t2\t1\tthing {i}, other word\n" for i in range(1, 151))
    (ade_folder(tmp_path) / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n" + lines)
    assert open_split("x:training", tmp_path, "training", None).mask_names[1] == "thing 2, other word"
    (tmp_path / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    with pytest.raises(DataError, match=r"names 1 classes\. Expected 150"):
        open_split("x:training", tmp_path, "training", None)


def test_wrong_use(tmp_path: Path) -> None:
    root = ade_folder(tmp_path)
    with pytest.raises(DataError, match="has no split 'train'; choose from: training"):
        open_split("x:train", root, "train", None)
    with pytest.raises(DataError, match="masks=SegmentationSuper: x:training is laid out as ADE20K"):
        open_split("x:training", root, "training", "SegmentationSuper")
    (root / "images/empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        open_split("x:empty", root, "empty", None)
    (root / "annotations/training/ADE_2.png").unlink()
    with pytest.raises(DataError, match="lacks the mask of 1 of 2 entries, the first is ADE_2"):
        open_split("x:training", root, "training", None)
