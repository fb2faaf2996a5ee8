"""A figure of patch colours."""

from __future__ import annotations

import torch

from franca.models.vision_transformer import VisionTransformer
from franca.report.pca import pca_figure


def test_a_figure_has_images_above_and_colours_below() -> None:
    model = VisionTransformer(width=12, depth=1, num_heads=2, patch_size_px=4, image_size_px=16)
    images = [torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8), torch.zeros(3, 9, 9, dtype=torch.uint8)]
    figure = pca_figure(model, images, patches_per_side=6)
    shapes = [axis.images[0].get_array().shape for axis in figure.axes]
    assert shapes == [(24, 24, 3), (24, 24, 3), (6, 6, 3), (6, 6, 3)]
