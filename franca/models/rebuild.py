"""The same weights in a backbone with other arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from franca.errors import ConfigError
from franca.models.vision_transformer import VisionTransformer


def at_size(backbone: VisionTransformer, size_px: Sequence[int]) -> VisionTransformer:
    """The same function of images of one size, with positions stored for just that size.

    Args:
        backbone: with weights, which the result shares.
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
    grid = (size_px[0] // patch_px, size_px[1] // patch_px)
    state = {**backbone.state_dict(), "pos_embed": backbone.positions_for(grid)}
    return rebuild(backbone, state, image_size_px=size_px[0] if size_px[0] == size_px[1] else list(size_px))


def rebuild(backbone: VisionTransformer, state: Mapping[str, Tensor], **changes: Any) -> VisionTransformer:
    """A backbone in evaluation mode with these weights, and the arguments of another one but for the changes."""
    with torch.device("meta"):
        rebuilt = VisionTransformer(**{**backbone.config, **changes})
    rebuilt.load_state_dict(state, assign=True)
    rebuilt.preprocessing, rebuilt.export_info = backbone.preprocessing, backbone.export_info
    rebuilt.rasa_basis = backbone.rasa_basis
    return rebuilt.eval()
