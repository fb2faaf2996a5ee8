"""Backbones with parts of their computation done in advance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from franca.errors import ConfigError
from franca.layers.position import resize_positions
from franca.models.check import image_size
from franca.models.vision_transformer import VisionTransformer


def in_fp32(backbone: VisionTransformer) -> VisionTransformer:
    """The same backbone on the CPU, in fp32; one that is so already shares its weights."""
    return _rebuild(backbone, {name: tensor.to("cpu", torch.float32) for name, tensor in backbone.state_dict().items()})


def at_size(backbone: VisionTransformer, size_px: Sequence[int]) -> VisionTransformer:
    """The same function of images of one size, with positions stored for just that size.

    Args:
        backbone: with weights.
        size_px: height and width, multiples of the patch.

    Raises:
        ConfigError: if they are not.
    """
    patch_px = backbone.patch_size_px
    if any(side < patch_px or side % patch_px for side in size_px):
        near = [max(1, round(side / patch_px)) * patch_px for side in size_px]
        raise ConfigError(
            f"The size {size_px[0]}x{size_px[1]} is not a multiple of the model's patch, {patch_px} px: try "
            f"{near[0]}x{near[1]}."
        )
    positions, grid = backbone.pos_embed.detach(), (size_px[0] // patch_px, size_px[1] // patch_px)
    patches = resize_positions(positions[:, 1:], backbone.position_grid, grid, backbone.position_interpolation)
    state = {**backbone.state_dict(), "pos_embed": torch.cat([positions[:, :1], patches], dim=1)}
    size = size_px[0] if size_px[0] == size_px[1] else list(size_px)
    baked = _rebuild(backbone, state, image_size_px=size)
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
    return _rebuild(backbone, state, layer_scale=None)


def stored_size_px(backbone: VisionTransformer) -> tuple[int, int]:
    """Height and width of the images that the stored positions are for."""
    return image_size(backbone.config["image_size_px"])


def _rebuild(backbone: VisionTransformer, state: Mapping[str, Tensor], **changes: Any) -> VisionTransformer:
    with torch.device("meta"):
        rebuilt = VisionTransformer(**{**backbone.config, **changes})
    rebuilt.load_state_dict(state, assign=True)
    rebuilt.preprocessing, rebuilt.export_info = backbone.preprocessing, backbone.export_info
    return rebuilt.eval()
