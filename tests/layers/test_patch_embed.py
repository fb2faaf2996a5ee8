from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from franca.errors import DataError
from franca.layers.patch_embed import PatchEmbed


class Doubled(nn.Module):
    """Stands for what users add to a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize("in_chans", [1, 3, 4])
def test_is_the_convolution_row_by_row(in_chans: int) -> None:
    layer = PatchEmbed(4, in_chans, 7)
    images = torch.randn(2, in_chans, 8, 12)
    maps = layer.proj(images)  # [2, 7, 2, 3]
    torch.testing.assert_close(layer(images), maps.flatten(2).transpose(1, 2))
    assert layer.grid(images) == (2, 3)


def test_crop_is_what_the_convolution_does_with_other_sizes() -> None:
    layer = PatchEmbed(4, 3, 7)
    images = torch.randn(2, 3, 11, 14)
    maps = layer.proj(images)  # [2, 7, 2, 3]
    torch.testing.assert_close(layer(layer.fit(images, "crop")), maps.flatten(2).transpose(1, 2))


def test_a_projection_of_another_type_is_called() -> None:
    layer, images = PatchEmbed(4, 3, 7), torch.randn(2, 3, 8, 12)
    expected = 2 * layer(images)
    layer.proj = nn.Sequential(layer.proj, Doubled())
    torch.testing.assert_close(layer(images), expected)


def test_hooks_on_the_projection_are_called() -> None:
    layer, images, seen = PatchEmbed(4, 3, 7), torch.randn(2, 3, 8, 12), []
    expected = layer(images)
    layer.proj.register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    torch.testing.assert_close(layer(images), expected)
    assert seen == [(2, 7, 2, 3)]


def test_every_size_gives_its_grid() -> None:
    layer = PatchEmbed(14, 1, 1)
    for height in range(14, 601):
        width = 614 - height
        images = torch.empty(1, 1, height, width)
        assert layer.grid(layer.fit(images, "pad")) == (-(-height // 14), -(-width // 14))
        assert layer.grid(layer.fit(images, "crop")) == (height // 14, width // 14)
        assert layer.grid(layer.fit(images, "resize")) == ((height + 7) // 14, (width + 7) // 14)


@pytest.mark.parametrize(("height", "width"), [(15, 14), (14, 20), (0, 14), (7, 7)])
def test_sizes_must_be_multiples_of_the_patch(height: int, width: int) -> None:
    images = torch.zeros(1, 3, height, width)
    with pytest.raises(DataError, match=rf"{height} x {width} pixels.*14 x 14.*size_policy"):
        PatchEmbed(14, 3, 8)(images)
    with pytest.raises(DataError, match=rf"{height} x {width} pixels.*14 x 14"):
        PatchEmbed(14, 3, 8).grid(PatchEmbed(14, 3, 8).fit(images, "error"))


@pytest.mark.parametrize(("height", "width"), [(13, 28), (28, 1)])
def test_crop_needs_a_whole_patch(height: int, width: int) -> None:
    with pytest.raises(DataError, match=rf"{height} x {width} pixels.*'crop' leaves nothing.*'pad' or 'resize'"):
        PatchEmbed(14, 3, 8).fit(torch.zeros(1, 3, height, width), "crop")


@pytest.mark.parametrize("policy", ["pad", "resize", "crop", "error"])
def test_images_without_pixels_are_wrong_under_every_policy(policy: str) -> None:
    layer = PatchEmbed(14, 3, 8)
    with pytest.raises(DataError, match="0 x 14 pixels"):
        layer(layer.fit(torch.zeros(1, 3, 0, 14), policy))


@pytest.mark.parametrize("shape", [(3, 14, 14), (1, 1, 14, 14)])
def test_shape_must_be_a_batch_of_images(shape: tuple[int, ...]) -> None:
    layer = PatchEmbed(14, 3, 8)
    for use in (layer, lambda images: layer.fit(images, "pad")):
        with pytest.raises(DataError, match=r"\[B, 3, H, W\]"):
            use(torch.zeros(shape))


def test_bytes_are_refused() -> None:
    with pytest.raises(DataError, match=r"torch\.uint8.*mean"):
        PatchEmbed(14, 3, 8)(torch.zeros(1, 3, 14, 14, dtype=torch.uint8))
