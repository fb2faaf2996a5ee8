"""Pictures of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from franca.errors import ConfigError
from franca.evaluation.dense.pictures import GAP_PX, class_colours, draw_segmentation, write_picture
from franca.evaluation.dense.validation import Example


def examples() -> list[Example]:
    mask = torch.tensor([[0, 1], [2, 255]], dtype=torch.uint8).repeat_interleave(10, 0).repeat_interleave(20, 1)
    image = torch.full((3, 20, 40), 77, dtype=torch.uint8)
    return [Example(image, mask, mask.clamp(max=2)), Example(image[:, :, :20], mask[:, :20], mask[:, :20])]


def test_three_rows_with_the_same_colours() -> None:
    first, second = examples()
    pairs = [(example.image, example.mask, example.prediction) for example in (first, second)]
    sheet = np.asarray(draw_segmentation(*zip(*pairs, strict=True), side_px=20))
    assert sheet.shape == (3 * 20 + 2 * GAP_PX, 40 + GAP_PX + 20, 3)
    colours = class_colours()
    row = 20 + GAP_PX
    assert sheet[0, 0].tolist() == [77, 77, 77]
    assert sheet[row, 0].tolist() == colours[0].tolist() and sheet[row, 39].tolist() == colours[1].tolist()
    assert sheet[row + 19, 39].tolist() == [255, 255, 255]  # ignored
    assert sheet[2 * row + 19, 39].tolist() == colours[2].tolist()  # predicted all the same
    assert sheet[row, 40 + GAP_PX].tolist() == colours[0].tolist()


def test_classes_look_different() -> None:
    colours = class_colours()[:30].astype(int)
    distance = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(30, dtype=int)
    assert distance.min() > 20


def test_writing(tmp_path: Path) -> None:
    write_picture(tmp_path / "deep/er/segmentation.png", examples())
    assert Image.open(tmp_path / "deep/er/segmentation.png").size[1] > 400
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"pictures: .* cannot be written"):
        write_picture(tmp_path / "file/segmentation.png", examples())
