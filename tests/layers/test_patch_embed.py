from __future__ import annotations

import pytest
import torch

from franca.errors import DataError
from franca.layers.patch_embed import PatchEmbed


def test_is_the_convolution_row_by_row() -> None:
    layer = PatchEmbed(4, 3, 7)
    images = torch.randn(2, 3, 8, 12)
    maps = layer.proj(images)  # [2, 7, 2, 3]
    torch.testing.assert_close(layer(images), maps.flatten(2).transpose(1, 2))
    assert layer.grid(images) == (2, 3)


@pytest.mark.parametrize(("height", "width"), [(15, 14), (14, 20), (0, 14), (7, 7)])
def test_sizes_must_be_multiples_of_the_patch(height: int, width: int) -> None:
    with pytest.raises(DataError, match=rf"{height} x {width} pixels.*14 x 14"):
        PatchEmbed(14, 3, 8)(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize("shape", [(3, 14, 14), (1, 1, 14, 14)])
def test_shape_must_be_a_batch_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"\[B, 3, H, W\]"):
        PatchEmbed(14, 3, 8)(torch.zeros(shape))
