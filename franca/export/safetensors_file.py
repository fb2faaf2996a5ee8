"""Our own file: weights, architecture and preprocessing in one; any size of image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from franca.export.bake import public_info
from franca.export.formats import Reader
from franca.export.outputs import outputs_of
from franca.models.hub import load as load_hub
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import save_backbone


def write(backbone: VisionTransformer, path: Path) -> None:
    """Write the file that `franca.load` reads, with the preprocessing and the notes of the backbone."""
    preprocessing = backbone.preprocessing
    save_backbone(
        path,
        backbone,
        mean=preprocessing.mean,
        std=preprocessing.std,
        image_size_px=preprocessing.image_size_px,
        **public_info(backbone),
    )


def load(path: Path, architecture: Mapping[str, Any]) -> Reader:
    """Load by `franca.load`."""
    return outputs_of(load_hub(path))


def usage(backbone: VisionTransformer, path: Path) -> str:
    """One line of Python."""
    return f"franca.load({str(path)!r})"
