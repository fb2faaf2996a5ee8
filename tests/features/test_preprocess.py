"""Preprocessing against PIL, and its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from franca.features.preprocess import bring_to, normalise


@pytest.mark.parametrize(("height", "width"), [(100, 80), (61, 200), (40, 30)])
def test_an_image_is_brought_to_its_size_as_what_pil_does(height: int, width: int) -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))
    ours = bring_to(image, (56, 56))

    short = 64  # 56 * 256 / 224
    size = (short, short * height // width) if width < height else (short * width // height, short)
    resized = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 56) / 2), round((size[1] - 56) / 2)
    theirs = torch.from_numpy(np.array(resized.crop((left, top, left + 56, top + 56)))).permute(2, 0, 1)

    assert ours.shape == (3, 56, 56) and ours.dtype == torch.uint8
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_normalise_by_hand() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    expected = torch.tensor([(0 - 0.1) / 0.5, (0.2 - 0.2) / 0.25, (1 - 0.3) / 0.2])
    torch.testing.assert_close(normalise(images, (0.1, 0.2, 0.3), (0.5, 0.25, 0.2)).flatten(), expected)
