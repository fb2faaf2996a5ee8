"""Tiny models, and views of drawn images."""

from __future__ import annotations

import torch
from torch import nn

from franca.config.schema import SyntheticConfig
from franca.data.sample import Source
from franca.data.synthetic import SyntheticSource
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.settings import FeatureSettings
from franca.features.table import Wanted
from franca.models.vision_transformer import VisionTransformer
from franca.viz.view import View
from tests.models.reference import randomize


def vit(num_registers: int = 2) -> VisionTransformer:
    """All parameters random."""
    model = VisionTransformer(
        width=24, depth=2, num_heads=3, patch_size_px=4, image_size_px=16, num_registers=num_registers
    )
    randomize(model)
    return model.eval()


def drawn(num_images: int = 12, size_px: int = 24) -> Source:
    """Drawn images."""
    return SyntheticSource(SyntheticConfig(num_val_images=num_images, size_px=size_px), "val")


def view_of(
    backbone: nn.Module,
    source: Source | None = None,
    *,
    num_images: int | None = 3,
    size_px: int = 16,
    fit: str = "crop",
) -> View:
    """A view on the CPU."""
    settings = FeatureSettings(image_size_px=size_px, precision="fp32")
    job = Job(FeatureModel(backbone), source or drawn(), Wanted(patches=True), settings, torch.device("cpu"))
    return View(job, num_images, fit, lambda *_: None)
