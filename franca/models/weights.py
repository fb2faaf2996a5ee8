"""Exported backbones: weights, architecture and preprocessing in one safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError, ConfigError
from franca.models.preprocessing import Preprocessing
from franca.models.safetensors import read_safetensors, write_safetensors
from franca.models.vision_transformer import VisionTransformer

__all__ = ["Preprocessing", "load_backbone", "read_safetensors", "save_backbone", "write_safetensors"]

METADATA_KEY = "franca"
NAMES_SHOWN = 8


def save_backbone(
    path: str | os.PathLike[str],
    backbone: VisionTransformer,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    image_size_px: int,
    **info: Any,
) -> None:
    """Write a backbone with all that is needed to use it.

    Args:
        path: of the file, which is replaced in one move.
        backbone: with weights, on any device.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, what pixels are divided by.
        image_size_px: height and width of an image.
        info: JSON values about the weights, such as the training step.
    """
    description = {
        "architecture": backbone.config,
        "preprocessing": {"image_size_px": image_size_px, "mean": list(mean), "std": list(std)},
        "info": info,
    }
    write_safetensors(path, backbone.state_dict(), {METADATA_KEY: json.dumps(description)})


def load_backbone(path: str | os.PathLike[str]) -> VisionTransformer:
    """Rebuild the backbone of a file that `save_backbone` wrote, in evaluation mode.

    Returns:
        The backbone, its ``preprocessing`` and ``export_info`` as the file has them.

    Raises:
        CheckpointError: if the file is missing, damaged, not an exported backbone, or does not match itself.
    """
    tensors, metadata = read_safetensors(path)
    if METADATA_KEY not in metadata:
        raise CheckpointError(f"{path} holds tensors, but no exported backbone. Give a file that franca exported.")
    return build_exported(tensors, metadata, source=str(path))


def build_exported(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, source: str) -> VisionTransformer:
    """Rebuild a backbone from what `save_backbone` wrote: see `load_backbone`.

    Args:
        tensors: the parameters, which the backbone takes as its own.
        metadata: of the file, with `METADATA_KEY`.
        source: the file, for messages.
    """
    try:
        description = json.loads(metadata[METADATA_KEY])
        with torch.device("meta"):
            backbone = VisionTransformer(**description["architecture"])
        preprocessing = description["preprocessing"]
        backbone.preprocessing = Preprocessing(
            image_size_px=preprocessing["image_size_px"],
            mean=tuple(preprocessing["mean"]),
            std=tuple(preprocessing["std"]),
        )
        backbone.export_info = description["info"]
    except (ConfigError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{source} describes a backbone that this version cannot build: {error}. Load it with the version of "
            "franca that exported it, or export it again."
        ) from error
    check_state(backbone, tensors, source=source)
    backbone.load_state_dict(tensors, assign=True)
    return backbone.eval()


def check_state(backbone: VisionTransformer, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Check that tensors are just the parameters of a backbone.

    Raises:
        CheckpointError: with the names that are missing, unknown, or of another shape.
    """
    expected = backbone.state_dict()
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    other = [
        f"{name} {list(tensors[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected
        if name in tensors and tensors[name].shape != expected[name].shape
    ]
    problems = [
        f"{title}: {', '.join(names[:NAMES_SHOWN])}" + (" and more" if len(names) > NAMES_SHOWN else "")
        for title, names in (("missing", missing), ("unknown", unknown), ("wrong shape", other))
        if names
    ]
    if problems:
        raise CheckpointError(f"The weights in {source} do not match the backbone; {'; '.join(problems)}.")
