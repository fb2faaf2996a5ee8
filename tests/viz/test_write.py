"""PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from franca.errors import ConfigError
from franca.viz.sheet import Drawing, image_cell
from franca.viz.write import LEAST_CELL_PX, check_folder, file_name, write_drawings


def drawing(key: str, place: int, side_px: int) -> Drawing:
    row = [image_cell(key, torch.randint(256, (3, side_px, side_px // 2), dtype=torch.uint8))]
    return Drawing(key, place, [row], [row])


def test_a_picture_for_each_and_a_sheet(tmp_path: Path) -> None:
    drawings = [drawing("a/b.jpg", 3, 40), drawing("c", 12, 300)]
    sheet = write_drawings(drawings, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00003_a_b.png", "00012_c.png", "sheet.png"]
    large = np.asarray(Image.open(tmp_path / "00012_c.png"))
    pixels = drawings[1].rows[0][0].pixels.numpy()
    assert (large[-306:-6, 6 + 75 : 6 + 225] == pixels).all()  # no pixel is lost
    assert Image.open(tmp_path / "00003_a_b.png").height > LEAST_CELL_PX
    again = sheet.read_bytes()
    assert write_drawings(drawings, tmp_path).read_bytes() == again


def test_names_are_names_of_files() -> None:
    assert file_name(drawing("../x y/ü:*?.jpeg", 7, 8)) == "00007_.._x_y_.png"
    assert len(file_name(drawing("k" * 500, 7, 8))) < 100


def test_a_folder_is_made_and_a_file_refused(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file; expected the name of a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be made"):
        check_folder(tmp_path / "file" / "below")
