"""The layout of Pascal VOC."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.data.segmentation.voc import open_split, read_names
from franca.errors import DataError
from tests.data.segmentation.folders import mask_of, save_mask, voc_folder


def write_classes(path: Path, names: str = "sky road car") -> None:
    path.write_text("index\tname\n" + "".join(f"{index}\t{name}\n" for index, name in enumerate(names.split())))


def test_a_split_in_the_order_of_its_list(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, ("c", "a"))
    source = open_split("x:train", root, "train", None)
    assert [source.read(index).key for index in range(2)] == ["JPEGImages/c.jpg", "JPEGImages/a.jpg"]
    assert source.mask_names[0] == "background" and len(source.mask_names) == 21  # without a table, those of VOC


def test_each_folder_of_masks_has_its_table(tmp_path: Path) -> None:
    root = voc_folder(tmp_path)
    voc_folder(tmp_path, masks="SegmentationSuper")
    write_classes(root / "classes.tsv")
    write_classes(root / "classes_super.tsv", "thing stuff rest more")
    assert open_split("x:train", root, "train", None).mask_names == ("sky", "road", "car")
    assert len(open_split("x:train", root, "train", "SegmentationSuper").mask_names) == 4


def test_trainaug_takes_the_augmented_masks(tmp_path: Path) -> None:
    root = voc_folder(tmp_path)
    voc_folder(tmp_path, ("b",), split="trainaug", masks="SegmentationClassAug")
    save_mask(root / "SegmentationClassAug/b.png", mask_of(20), mode="L")
    lines = "/JPEGImages/b.jpg /SegmentationClassAug/b.png\n"  # as the list is often handed on
    (root / "ImageSets/Segmentation/trainaug.txt").write_text(lines)
    sample = open_split("x:trainaug", root, "trainaug", None).read(0)
    assert sample.mask is not None and sample.mask.unique().tolist() == [20]
    assert len(open_split("x:trainaug", root, "trainaug", None).mask_names) == 21


def test_unknown_split(tmp_path: Path) -> None:
    voc_folder(tmp_path, split="val")
    with pytest.raises(DataError, match="has no split 'test'; choose from: train, val"):
        open_split("x:test", voc_folder(tmp_path), "test", None)


def test_empty_split(tmp_path: Path) -> None:
    (voc_folder(tmp_path) / "ImageSets/Segmentation/val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt is empty"):
        open_split("x:val", tmp_path, "val", None)


def test_missing_files(tmp_path: Path) -> None:
    root = voc_folder(tmp_path)
    (root / "SegmentationClass/b.png").unlink()
    with pytest.raises(DataError, match="SegmentationClass lacks the mask of 1 of 3 entries, the first is b"):
        open_split("x:train", root, "train", None)
    (root / "JPEGImages/a.jpg").unlink()
    with pytest.raises(DataError, match="JPEGImages lacks the image of 1 of 3 entries, the first is a"):
        open_split("x:train", root, "train", None)


def test_unknown_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder of masks SegmentationSuper; choose masks= from: SegmentationClass"):
        open_split("x:train", voc_folder(tmp_path), "train", "SegmentationSuper")


@pytest.mark.parametrize("text", ["index\tname\n1\tsky\n", "number\tname\n0\tsky\n", "index\tname\n0\t\n"])
def test_a_table_that_is_none(tmp_path: Path, text: str) -> None:
    (voc_folder(tmp_path) / "classes.tsv").write_text(text)
    with pytest.raises(DataError, match="expected the columns index and name"):
        read_names(tmp_path, "SegmentationClass")


def test_other_masks_need_their_table(tmp_path: Path) -> None:
    voc_folder(tmp_path, masks="SegmentationParts")
    with pytest.raises(DataError, match=r"classes_parts\.tsv is missing"):
        open_split("x:train", tmp_path, "train", "SegmentationParts")


def test_too_many_classes(tmp_path: Path) -> None:
    write_classes(voc_folder(tmp_path) / "classes.tsv", " ".join(f"c{index}" for index in range(256)))
    with pytest.raises(DataError, match=r"names 256 classes\. Expected 1 to 255"):
        read_names(tmp_path, "SegmentationClass")
