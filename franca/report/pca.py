"""The first three principal components of patch features, as colours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from franca.features.preprocess import normalise
from franca.models.vision_transformer import VisionTransformer
from franca.viz.colours import joint_colours


@torch.inference_mode()
def pca_figure(backbone: VisionTransformer, images: Sequence[Tensor], *, patches_per_side: int = 16) -> Figure:
    """Images above the principal components of their patch features.

    Args:
        backbone: on the CPU.
        images: [3, H, W] uint8, any sizes; shown as squares.
        patches_per_side: how finely to look; images are resized to this many patches.
    """
    side = patches_per_side * backbone.patch_size_px
    squares = torch.stack(
        [F.resize(image, [side, side], interpolation=InterpolationMode.BICUBIC, antialias=True) for image in images]
    )
    preprocessing = backbone.preprocessing
    features = backbone.eval().features(normalise(squares, preprocessing.mean, preprocessing.std))
    colours = joint_colours(list(features.patches.unflatten(1, features.grid)))  # B of [h, w, 3]
    figure = Figure(figsize=(1.4 * len(images), 2.9), layout="constrained")
    axes = figure.subplots(2, len(images), squeeze=False)
    for column, (image, colour) in enumerate(zip(squares, colours, strict=True)):
        axes[0][column].imshow(image.permute(1, 2, 0).numpy())
        axes[1][column].imshow(colour.numpy(), interpolation="nearest")
    for axis in axes.flat:
        axis.set_axis_off()
    return figure
