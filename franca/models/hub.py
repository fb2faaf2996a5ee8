"""Find a backbone by what a user calls it: a run folder, an exported file, or one of our names."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import torch

from franca.errors import CheckpointError, ConfigError
from franca.models.registry import RELEASES, build_release
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import load_backbone

NEWEST_EXPORT = Path("exports") / "teacher.safetensors"
# What may differ between a name and a file loaded under it: neither changes the function of the other weights.
FREE = ("image_size_px", "stochastic_depth", "layer_scale", "position_interpolation")


def load(
    name_or_path: str | os.PathLike[str],
    *,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> VisionTransformer:
    """Load a backbone in evaluation mode.

    Args:
        name_or_path: a run folder, whose newest teacher is read; an exported file; or a name such as
            ``franca_vitb14``.
        pretrained: False gives a named backbone weights drawn from seed 0.
        weights: an exported file, or a run folder, to load into a named backbone.
        overrides: arguments of `franca.models.registry.build_backbone` that replace those of a name.

    Raises:
        CheckpointError: if there is no such backbone, or its weights are missing or do not match.
        ConfigError: if arguments contradict each other.
    """
    name = os.fspath(name_or_path)
    if name in RELEASES:
        return _load_release(name, pretrained, weights, overrides)
    path = Path(os.path.expanduser(name))
    if not path.exists():
        near = difflib.get_close_matches(name, RELEASES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise CheckpointError(
            f"No model {name!r}: no such file or folder, nor a name.{hint} Give a run folder, an exported .safetensors "
            f"file, or one of: {', '.join(RELEASES)}."
        )
    if not pretrained or weights is not None or overrides:
        given = ["pretrained=False"] * (not pretrained) + ["weights"] * (weights is not None) + list(overrides)
        raise ConfigError(f"{name} brings its own weights and architecture: leave out {', '.join(given)}.")
    return _load_path(path)


def _load_release(
    name: str, pretrained: bool, weights: str | os.PathLike[str] | None, overrides: dict[str, Any]
) -> VisionTransformer:
    if weights is not None:
        if not pretrained:
            raise ConfigError(f"{name}: pretrained=False and weights={os.fspath(weights)!r} contradict each other.")
        return _load_into(name, Path(os.path.expanduser(weights)), overrides)
    if pretrained:
        raise CheckpointError(
            f"{name} has no public weights. Pass weights=PATH to load an exported file, or pretrained=False for random "
            "weights."
        )
    return build_release(name, **overrides).eval()


def _load_into(name: str, path: Path, overrides: dict[str, Any]) -> VisionTransformer:
    """Load a file that must hold the architecture that the name and its overrides describe."""
    backbone = _load_path(path)
    with torch.device("meta"):
        wanted = build_release(name, **overrides).config
    fixed = [key for key in wanted if key in overrides or key not in FREE]
    different = [
        f"{key} is {backbone.config[key]!r} instead of {wanted[key]!r}"
        for key in fixed
        if backbone.config[key] != wanted[key]
    ]
    if different:
        raise CheckpointError(f"The weights in {path} are not of {name}: {', '.join(different)}.")
    return backbone


def _load_path(path: Path) -> VisionTransformer:
    if not path.is_dir():
        return load_backbone(path)
    export = path / NEWEST_EXPORT
    if not export.exists():
        raise CheckpointError(
            f"{path} has no {NEWEST_EXPORT}. Give the folder of a run that has exported its teacher, or an exported "
            "file."
        )
    return load_backbone(export)
