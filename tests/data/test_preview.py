"""The contact sheet shows the very crops and masks of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from franca.config.build import build
from franca.config.schema import Config
from franca.data.collate import PretrainingData
from franca.data.preview import GAP_PX, HEADER_PX, HIDDEN, PAPER, contact_sheet

from .fake import FakeSource

SIZE, LOCAL, PATCH = 32, 12, 8


def sheet_of(num_images: int, num_local_crops: int = 4) -> tuple[Config, np.ndarray, object]:
    config = build(
        {
            "data": {
                "train": "memory",
                "global_size_px": SIZE,
                "local_size_px": LOCAL,
                "num_local_crops": num_local_crops,
            },
            "model": {"patch_size_px": PATCH if num_local_crops == 0 else 4},
            "objective": {"mask_probability": 1.0, "koleo_weight": 0},
            "train": {"global_batch": num_images},
        }
    )
    source = FakeSource(20)
    batch = PretrainingData.from_config(source, config)[0]
    originals = [source.read(index).image for index in batch.samples.tolist()]
    sheet = contact_sheet(originals, batch, mean=config.data.mean, std=config.data.std)
    return config, np.asarray(sheet), batch


def test_crops_and_masks_are_those_of_the_batch() -> None:
    config, sheet, batch = sheet_of(3)
    mean, std = torch.tensor(config.data.mean), torch.tensor(config.data.std)
    columns = [GAP_PX, *(GAP_PX + (SIZE + GAP_PX) * n for n in (1, 2))]
    top = HEADER_PX + 1 * (SIZE + GAP_PX)  # the second row
    for view in range(2):
        crop = batch.global_crops[view * 3 + 1].permute(1, 2, 0) * std + mean
        shown = sheet[top : top + SIZE, columns[1 + view] : columns[1 + view] + SIZE]
        assert np.abs(shown / 255 - crop.numpy()).max() <= 0.51 / 255
        right = sheet.shape[1] - (2 - view) * (SIZE + GAP_PX)
        student = sheet[top : top + SIZE, right : right + SIZE]
        hidden = batch.masks[view * 3 + 1].reshape(8, 8).repeat_interleave(4, 0).repeat_interleave(4, 1).numpy()
        assert hidden.any() and (student[hidden] == HIDDEN).all()
        assert (student[~hidden] == shown[~hidden]).all()
    left = GAP_PX + 3 * (SIZE + GAP_PX)
    for number in range(4):
        crop = batch.local_crops[number * 3 + 1].permute(1, 2, 0) * std + mean
        down, across = number % 2, number // 2  # two of 12 px fit above each other
        y, x = top + down * (LOCAL + GAP_PX), left + across * (LOCAL + GAP_PX)
        assert np.abs(sheet[y : y + LOCAL, x : x + LOCAL] / 255 - crop.numpy()).max() <= 0.51 / 255


def test_the_image_itself_fits_into_a_square() -> None:
    _, sheet, batch = sheet_of(1)
    image = FakeSource(20).read(int(batch.samples[0])).image  # 20 x 24
    square = sheet[HEADER_PX : HEADER_PX + SIZE, GAP_PX : GAP_PX + SIZE]
    inside = square[3:29]  # 20 * 32 / 24 = 27 rows
    assert (square[:2] == PAPER).all() and (square[30:] == PAPER).all()
    assert abs(float(inside.mean()) - float(image.float().mean())) < 3


def test_without_local_crops() -> None:
    _, sheet, _ = sheet_of(2, num_local_crops=0)
    assert sheet.shape == (HEADER_PX + 2 * (SIZE + GAP_PX), GAP_PX + 5 * (SIZE + GAP_PX), 3)


@pytest.mark.parametrize("num_images", [1, 5])
def test_the_same_again(num_images: int) -> None:
    assert (sheet_of(num_images)[1] == sheet_of(num_images)[1]).all()
