"""Mask files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from franca.data.segmentation.masks import check_size, codes_of, image_size, read_mask
from franca.errors import DataError
from tests.data.segmentation.folders import mask_of, save_image, save_mask


@pytest.mark.parametrize("mode", ["P", "L"])
def test_palette_and_grey_masks_hold_indexes(tmp_path: Path, mode: str) -> None:
    save_mask(tmp_path / "mask.png", mask_of(0, 2, 255), mode)
    read = read_mask(tmp_path / "mask.png", codes_of(3))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask_of(0, 2, 255))


def test_codes_move_and_ignore(tmp_path: Path) -> None:
    save_mask(tmp_path / "mask.png", mask_of(0, 1, 5))
    read = read_mask(tmp_path / "mask.png", codes_of(5, first=1, ignored=(0,)))
    np.testing.assert_array_equal(read, mask_of(255, 0, 4))


def test_255_classes_leave_room_for_ignore() -> None:
    codes = codes_of(255)
    assert codes.tolist() == list(range(256))


def test_a_value_that_is_no_class(tmp_path: Path) -> None:
    save_mask(tmp_path / "mask.png", mask_of(0, 3, 200))
    with pytest.raises(DataError, match=r"mask\.png holds 3, 200, outside the classes 0 to 2 \(255 = ignore\)"):
        read_mask(tmp_path / "mask.png", codes_of(3))


def test_colours_are_no_indexes(tmp_path: Path) -> None:
    save_image(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"pixels of mode RGB. Expected one byte a pixel"):
        read_mask(tmp_path / "mask.png", codes_of(3))


def test_a_damaged_mask(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"mask\.png cannot be read"):
        read_mask(tmp_path / "mask.png", codes_of(3))


def test_another_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mask\.png is 6 x 8, its image 8 x 6 pixels"):
        check_size(mask_of(0), tmp_path / "mask.png", (8, 6))


def test_image_sizes_are_upright(tmp_path: Path) -> None:
    save_image(tmp_path / "a.jpg")
    assert image_size(tmp_path / "a.jpg") == (6, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.open(tmp_path / "a.jpg").save(tmp_path / "b.jpg", exif=exif)
    assert image_size(tmp_path / "b.jpg") == (8, 6)
    assert image_size(tmp_path / "missing.jpg") is None
