"""What the names and shapes of parameters tell about the backbone that they are of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.layers.mlp import FEED_FORWARDS
from franca.models.check import image_size
from franca.models.registry import trained_interpolation

DIMENSIONS = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4}
FIRST_LAYERS = {"mlp": "blocks.0.mlp.fc1.weight", "swiglu": "blocks.0.mlp.w12.weight"}
HEAD_WIDTH = 64  # of every model that was released
USUAL_FFN_RATIO = 4.0
LAYER_SCALE = 1e-5  # the start value that a file does not tell, and that only training from scratch would use


@dataclass(frozen=True, kw_only=True)
class Untold:
    """What a file does not tell about its backbone; None takes what all released models have.

    Args:
        num_heads: attention heads; None takes heads of 64.
        position_interpolation: see `VisionTransformer`; None takes ``size`` with registers, ``offset`` without.
        image_size_px: height and width that the positions belong to; None takes a square.
        prefer_square: take a square wherever it is possible, also against ``image_size_px``.
    """

    num_heads: int | None = None
    position_interpolation: str | None = None
    image_size_px: int | Sequence[int] | None = None
    prefer_square: bool = False


def infer_architecture(state: Mapping[str, Tensor], *, source: str, untold: Untold) -> dict[str, Any]:
    """The arguments of the `VisionTransformer` that these parameters are of.

    Args:
        state: parameters under our names.
        source: the file, for messages.
        untold: what names and shapes do not tell.

    Raises:
        CheckpointError: if they are of something else, or one more argument is needed.
    """
    _check_kind(state, source)
    width = state["cls_token"].shape[-1]
    in_chans, patch_size_px = state["patch_embed.proj.weight"].shape[1:3]
    num_registers = state["register_tokens"].shape[1] if "register_tokens" in state else 0
    ffn = next(ffn for ffn, first in FIRST_LAYERS.items() if first in state)
    return {
        "width": width,
        "depth": len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        "num_heads": _num_heads(width, source) if untold.num_heads is None else untold.num_heads,
        "patch_size_px": patch_size_px,
        "image_size_px": _image_size(state, patch_size_px, untold, source),
        "in_chans": in_chans,
        "ffn": ffn,
        "ffn_ratio": _ffn_ratio(ffn, width, state[FIRST_LAYERS[ffn]].shape[0]),
        "num_registers": num_registers,
        "layer_scale": LAYER_SCALE if "blocks.0.ls1.gamma" in state else None,
        "position_interpolation": _interpolation(untold, num_registers),
    }


def _interpolation(untold: Untold, num_registers: int) -> str:
    told = untold.position_interpolation
    return trained_interpolation(num_registers) if told is None else told


def _check_kind(state: Mapping[str, Tensor], source: str) -> None:
    if any(part in name for name in state for part in ("rope", "storage_tokens")):
        raise CheckpointError(
            f"{source} is of a model with rotary positions, such as DINOv3. Only learned positions (pos_embed), as in "
            "DINOv2 and Franca, can be loaded."
        )
    missing = [name for name, ndim in DIMENSIONS.items() if name not in state or state[name].ndim != ndim]
    missing += [] if any(name in state for name in FIRST_LAYERS.values()) else [" or ".join(FIRST_LAYERS.values())]
    if missing:
        raise CheckpointError(
            f"{source} holds no vision transformer with learned positions: no {', no '.join(missing)}. It begins with "
            f"{', '.join(list(state)[:3]) or 'nothing'}."
        )


def _num_heads(width: int, source: str) -> int:
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{source}: the file does not tell the number of attention heads, and its width {width} is not a multiple "
            f"of the usual {HEAD_WIDTH}. Pass num_heads=."
        )
    return width // HEAD_WIDTH


def _image_size(state: Mapping[str, Tensor], patch_size_px: int, untold: Untold, source: str) -> int | list[int]:
    """Height and width that the positions belong to; one number for a square."""
    num_positions = state["pos_embed"].shape[1] - 1
    side = math.isqrt(max(num_positions, 0))
    is_square = side > 0 and side * side == num_positions
    given = untold.image_size_px
    if given is not None and not (is_square and untold.prefer_square):
        height, width = image_size(given)
        if (height // patch_size_px) * (width // patch_size_px) != num_positions:
            raise CheckpointError(
                f"{source}: image_size_px={height} x {width} has {height // patch_size_px} x {width // patch_size_px} "
                f"patches of {patch_size_px} px, but the file holds {num_positions} positions."
            )
        return height if height == width else [height, width]
    if not is_square:
        raise CheckpointError(
            f"{source}: its {num_positions} positions are no square. Pass image_size_px=(H, W), of which the "
            f"{patch_size_px} px patches are {num_positions}."
        )
    return side * patch_size_px


def _ffn_ratio(ffn: str, width: int, rows: int) -> float:
    """The ratio whose first layer has this many rows; the usual one where it fits, for equal names."""
    near = rows / width if ffn == "mlp" else 0.75 * rows / width
    for ratio in (USUAL_FFN_RATIO, near, near + 0.5 / width):
        with torch.device("meta"):
            first = next(FEED_FORWARDS[ffn](width, ratio).parameters())
        if first.shape[0] == rows:
            return ratio
    return near  # no ratio gives these shapes, which the check of the state then tells
