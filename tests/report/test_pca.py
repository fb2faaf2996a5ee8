"""Principal components as colours."""

from __future__ import annotations

import torch

from franca.models.vision_transformer import VisionTransformer
from franca.report.pca import pca_figure, principal_colours


def test_planted_directions_are_found_in_the_order_of_their_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q[:3]
    weights = torch.randn(2, 50, 3, generator=generator)
    patches = weights * torch.tensor([10.0, 3.0, 1.0]) @ axes
    colours = principal_colours(patches)
    assert colours.shape == (2, 50, 3) and colours.min() == 0 and colours.max() == 1
    for component in range(3):
        pair = torch.stack([colours[..., component].flatten(), weights[..., component].flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() > 0.9


def test_the_sign_is_stable() -> None:
    patches = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(principal_colours(patches.flip(0)).flip(0), principal_colours(patches))


def test_equal_patches_give_a_picture_all_the_same() -> None:
    assert principal_colours(torch.ones(1, 4, 5)).isfinite().all()


def test_a_figure_has_images_above_and_colours_below() -> None:
    model = VisionTransformer(width=12, depth=1, num_heads=2, patch_size_px=4, image_size_px=16)
    images = [torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8), torch.zeros(3, 9, 9, dtype=torch.uint8)]
    figure = pca_figure(model, images, patches_per_side=6)
    shapes = [axis.images[0].get_array().shape for axis in figure.axes]
    assert shapes == [(24, 24, 3), (24, 24, 3), (6, 6, 3), (6, 6, 3)]
