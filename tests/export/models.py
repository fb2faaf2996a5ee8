"""Small backbones, and their comparison with an export in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from franca.export.formats import open_format
from franca.export.outputs import outputs_of
from franca.export.reader import read_batches
from franca.export.verify import compare, draw_images
from franca.models.preprocessing import Preprocessing
from franca.models.vision_transformer import VisionTransformer
from tests.models import reference

SQUARE_PX, RECTANGLE_PX = (12, 12), (8, 12)
KINDS = [
    pytest.param({"ffn": ffn, "num_registers": registers, "layer_scale": scale}, id=f"{ffn}-{registers}-{scale}")
    for ffn in ("mlp", "swiglu")
    for registers in (0, 4)
    for scale in (1e-5, None)
]


def build(**options: Any) -> VisionTransformer:
    """A backbone of two blocks, all its parameters random."""
    sizes = {"width": 16, "depth": 2, "num_heads": 4, "patch_size_px": 4, "image_size_px": SQUARE_PX}
    model = VisionTransformer(**{**sizes, **options})
    reference.randomize(model)
    model.preprocessing = Preprocessing(image_size_px=12, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    return model.eval()


def round_trip(name: str, backbone: VisionTransformer, path: Path, tolerance: float = 1e-5) -> dict[str, float]:
    """Write, load with the reader's own loader, compare; an ExportError if they differ."""
    module = open_format(name)
    module.write(backbone, path)
    batches = draw_images(backbone)
    expected = read_batches(outputs_of(backbone), batches)
    return compare(expected, read_batches(module.load(path, backbone.config), batches), name, tolerance)
