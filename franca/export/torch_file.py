"""A plain state dict with DINOv2's names, which DINOv2's own code reads strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from franca.export.formats import Reader
from franca.export.load_line import load_line
from franca.export.outputs import outputs_of
from franca.models.vision_transformer import VisionTransformer


def write(backbone: VisionTransformer, path: Path) -> None:
    """Write the parameters, and nothing else."""
    torch.save({name: tensor.detach().contiguous() for name, tensor in backbone.state_dict().items()}, path)


def load(path: Path, architecture: Mapping[str, Any]) -> Reader:
    """Load by torch alone, without running code of the file."""
    with torch.device("meta"):
        backbone = VisionTransformer(**architecture)
    backbone.load_state_dict(torch.load(path, weights_only=True), strict=True, assign=True)
    return outputs_of(backbone.eval())


def usage(backbone: VisionTransformer, path: Path) -> str:
    """What a state dict does not say by itself."""
    size = backbone.config["image_size_px"]
    return (
        f"model.load_state_dict(torch.load({str(path)!r}, weights_only=True))\n"
        f"a ViT of DINOv2's code takes it strictly, built with img_size={size}; DINOv2's own hub builds 518\n"
        f"here: {load_line(backbone, path)}; mean and std are not in the file"
    )
