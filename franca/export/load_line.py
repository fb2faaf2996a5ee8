"""How `franca.load` reads back a file that holds tensors alone."""

from __future__ import annotations

from pathlib import Path

from franca.models.inferred import HEAD_WIDTH
from franca.models.registry import trained_interpolation
from franca.models.vision_transformer import VisionTransformer


def load_line(backbone: VisionTransformer, path: Path) -> str:
    """The call of `franca.load`, with what it would not guess from the tensors, see `franca.models.inferred.Untold`."""
    config = backbone.config
    rows, columns = backbone.position_grid
    told = {}
    if config["num_heads"] * HEAD_WIDTH != config["width"]:
        told["num_heads"] = config["num_heads"]
    if config["position_interpolation"] != trained_interpolation(backbone.num_registers):
        told["position_interpolation"] = config["position_interpolation"]
    if rows != columns:
        told["image_size_px"] = tuple(config["image_size_px"])
    return f"franca.load({', '.join([repr(str(path)), *(f'{key}={value!r}' for key, value in told.items())])})"
