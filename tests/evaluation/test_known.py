"""What is known of images that nobody has read."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from franca.config.schema import SyntheticConfig
from franca.data.folder import FolderSource
from franca.data.synthetic import CLASS_NAMES, SyntheticSource
from franca.evaluation.known import Known, count_classes
from tests.evaluation.test_evaluate import Colours


def test_classes_without_images_and_unknown_labels_do_not_count() -> None:
    assert count_classes(torch.tensor([2, -1, 0, 2]), ("a", "b", "c")) == {"a": 1, "c": 2}


def test_labels_of_folders_and_drawn_images_are_those_of_their_images(tmp_path: Path) -> None:
    for name, number in (("cat", 3), ("dog", 1)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(number):
            Image.new("RGB", (8, 8)).save(tmp_path / "images" / name / f"{index}.png")
    folder = FolderSource(tmp_path / "images", labels=True)
    drawn = SyntheticSource(SyntheticConfig(num_images=11, size_px=16), "train")
    for source in (folder, drawn):
        assert source.labels is not None
        assert source.labels.tolist() == [source.read(index).label for index in range(len(source))]
    known = Known.of({"train": folder, "val": drawn})
    assert known.num_images == {"train": 4, "val": 11} and known.width is None
    assert known.class_counts["train"] == {"cat": 3, "dog": 1}
    assert known.class_counts["val"] == {name: 2 if index < 3 else 1 for index, name in enumerate(CLASS_NAMES)}


def test_sources_that_know_labels_only_as_they_read_are_left_out() -> None:
    assert Known.of({"train": Colours(9)}).class_counts == {}
