"""Backbones with parts of their computation done in advance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from franca.models import rebuild
from franca.models.check import image_size
from franca.models.vision_transformer import VisionTransformer


def in_fp32(backbone: VisionTransformer) -> VisionTransformer:
    """The same backbone on the CPU, in fp32; one that is so already shares its weights."""
    return rebuild.rebuild(
        backbone, {name: tensor.to("cpu", torch.float32) for name, tensor in backbone.state_dict().items()}
    )


def at_size(backbone: VisionTransformer, size_px: Sequence[int]) -> VisionTransformer:
    """The same function of images of one size, with positions and preprocessing for just that size.

    Args:
        backbone: with weights.
        size_px: height and width, multiples of the patch.

    Raises:
        ConfigError: if they are not.
    """
    baked = rebuild.at_size(backbone, size_px)
    baked.preprocessing = replace(baked.preprocessing, image_size_px=min(size_px))
    return baked


def without_layer_scale(backbone: VisionTransformer) -> VisionTransformer:
    """The same function, layer scale multiplied into the linear layers before it."""
    if backbone.config["layer_scale"] is None:
        return backbone
    state = backbone.state_dict()
    last = "mlp.fc2" if backbone.config["ffn"] == "mlp" else "mlp.w3"
    for index in range(backbone.config["depth"]):
        for scale, layer in (("ls1", "attn.proj"), ("ls2", last)):
            gamma = state.pop(f"blocks.{index}.{scale}.gamma")
            name = f"blocks.{index}.{layer}"
            state[f"{name}.weight"] = gamma[:, None] * state[f"{name}.weight"]
            state[f"{name}.bias"] = gamma * state[f"{name}.bias"]
    return rebuild.rebuild(backbone, state, layer_scale=None)


def stored_size_px(backbone: VisionTransformer) -> tuple[int, int]:
    """Height and width of the images that the stored positions are for."""
    return image_size(backbone.config["image_size_px"])


def public_info(backbone: VisionTransformer) -> dict[str, Any]:
    """What an export may say about where its weights came from: of a path on this machine only the last part."""
    info = dict(backbone.export_info)
    return info | ({"source": Path(info["source"]).name} if "source" in info else {})
