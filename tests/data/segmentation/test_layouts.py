"""Recognising ``DIR:split``."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.data.segmentation.layouts import is_split, open_split
from franca.data.sources import describe, open_source
from franca.errors import DataError
from tests.data.segmentation.folders import ade_folder, mask_of, save_mask, voc_folder


@pytest.mark.parametrize("nested", [".", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_as_it_is_unpacked(tmp_path: Path, nested: str) -> None:
    voc_folder(tmp_path / nested)
    assert len(open_split(f"{tmp_path}:train")) == 3


@pytest.mark.parametrize("nested", [".", "ADEChallengeData2016"])
def test_ade20k_as_it_is_unpacked(tmp_path: Path, nested: str) -> None:
    ade_folder(tmp_path / nested)
    assert len(open_split(f"{tmp_path}:training")) == 2


def test_every_source_opens_through_one_function(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    source = open_source(f"{tmp_path}:train")
    assert describe(source) == "images with masks, 3 images, 21 classes"
    assert source.location == f"{tmp_path}:train"


def test_masks_are_checked_when_it_is_opened(tmp_path: Path) -> None:
    save_mask(voc_folder(tmp_path) / "SegmentationClass/b.png", mask_of(21))
    with pytest.raises(DataError, match=r"b\.png holds 21, outside the classes 0 to 20"):
        open_split(f"{tmp_path}:train")


def test_unknown_layout(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match=r"laid out in no known way. .*Pascal VOC: JPEGImages, ImageSets/Segm.*ADE20K"):
        open_split(f"{tmp_path}:train")
    with pytest.raises(DataError, match="is not a folder"):
        open_split(f"{tmp_path}/nowhere:train")
    with pytest.raises(DataError, match="names no split"):
        open_split(str(tmp_path))


def test_what_a_split_looks_like(tmp_path: Path) -> None:
    assert is_split(f"{tmp_path}:train")
    (tmp_path / "odd:name").mkdir()
    for other in (str(tmp_path), f"{tmp_path}/odd:name", f"{tmp_path}/none:train", f"{tmp_path}:", "module:callable"):
        assert not is_split(other)


def test_real_data_sets(test_data: Path) -> None:
    folder = test_data / "segmentation"
    if not folder.is_dir():
        pytest.skip("FRANCA_TEST_DATA has no folder segmentation")
    camvid = open_split(f"{folder}/camvid:val")
    assert (len(camvid), len(camvid.mask_names)) == (101, 11)
    sample = open_split(f"{folder}/coco_mini:val", masks="SegmentationSuper").read(0)
    assert sample.mask is not None and sample.image.shape[1:] == sample.mask.shape
