"""What a backbone may be asked for: an architecture that can be built, masks that fit, blocks that exist."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from franca.errors import ConfigError, DataError
from franca.layers.mlp import FEED_FORWARDS
from franca.layers.position import INTERPOLATIONS

COUNTS = ("width", "depth", "num_heads", "patch_size_px", "in_chans")


def image_size(size_px: int | Sequence[int]) -> tuple[int, int]:
    """Height and width from a pair, or from one number for both.

    Raises:
        ConfigError: for anything else.
    """
    try:
        if isinstance(size_px, int) or (hasattr(size_px, "__index__") and getattr(size_px, "ndim", 0) == 0):
            return operator.index(size_px), operator.index(size_px)
        height, width = (operator.index(side) for side in size_px)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"image_size_px is {size_px!r}, but must be a whole number of pixels, or a pair of them, height and width."
        ) from error
    return height, width


def check_architecture(config: Mapping[str, Any]) -> None:
    """Check the arguments of a `VisionTransformer`.

    Raises:
        ConfigError: with every problem found.
    """
    problems = list(_types(config)) or [*_numbers(config), *_sizes(config), *_choices(config)]
    if problems:
        raise ConfigError("This backbone cannot be built: " + "; ".join(problems) + ".")


def check_masks(masks: Tensor, num_images: int, grid: tuple[int, int]) -> None:
    """Check that masks are [B, N] bool, for patches on a grid.

    Raises:
        DataError: if they are not.
    """
    expected = [num_images, grid[0] * grid[1]]
    if masks.dtype != torch.bool or list(masks.shape) != expected:
        raise DataError(
            f"Masks of {num_images} images with {grid[0]} x {grid[1]} patches must be bool {expected}, but are "
            f"{masks.dtype} {list(masks.shape)}."
        )


def block_indices(n: int | Sequence[int], depth: int) -> list[int]:
    """The blocks, in rising order, that ``n`` asks for: the last n, or a list of them.

    Raises:
        DataError: if there are no such blocks, or none is asked for, or one of them twice.
    """
    indices = _indices(n, depth)
    if not indices or indices[0] < 0 or indices[-1] >= depth or len(set(indices)) < len(indices):
        raise DataError(
            f"get_intermediate_layers got n={n!r}, but the model has {depth} blocks, 0 to {depth - 1}. Give how many "
            f"of the last blocks, 1 to {depth}, or a list of blocks, each once."
        )
    return indices


def _indices(n: Any, depth: int) -> list[int]:
    """What ``n`` asks for, in rising order; nothing where it is neither a whole number nor a list of them."""
    try:
        if isinstance(n, int) or (hasattr(n, "__index__") and getattr(n, "ndim", 0) == 0):
            return list(range(depth - operator.index(n), depth))
        return sorted(operator.index(index) for index in n)
    except TypeError:
        return []


def _types(config: Mapping[str, Any]) -> Iterator[str]:
    for name in (*COUNTS, "num_registers"):
        if not isinstance(config[name], int):
            yield f"{name} is {config[name]!r}, but must be a whole number"
    for name in ("ffn_ratio", "stochastic_depth", "layer_scale"):
        may_lack = name == "layer_scale" and config[name] is None
        if not may_lack and not (isinstance(config[name], int | float) and math.isfinite(config[name])):
            yield f"{name} is {config[name]!r}, but must be a number"


def _numbers(config: Mapping[str, Any]) -> Iterator[str]:
    for name in COUNTS:
        if config[name] < 1:
            yield f"{name} is {config[name]}, but must be at least 1"
    if config["num_registers"] < 0:
        yield f"num_registers is {config['num_registers']}, but must be at least 0"
    if config["ffn_ratio"] * config["width"] < 1:
        yield f"ffn_ratio is {config['ffn_ratio']}, which leaves no hidden layer"
    if not 0 <= config["stochastic_depth"] < 1:
        yield f"stochastic_depth is {config['stochastic_depth']}, but must be at least 0 and below 1"


def _sizes(config: Mapping[str, Any]) -> Iterator[str]:
    width, num_heads, patch = config["width"], config["num_heads"], config["patch_size_px"]
    if num_heads >= 1 and width % num_heads:
        yield f"width {width} is not a multiple of num_heads {num_heads}"
    size = image_size(config["image_size_px"])
    if patch >= 1 and any(side < patch or side % patch for side in size):
        yield f"image_size_px {size[0]} x {size[1]} is not a multiple of patch_size_px {patch}"


def _choices(config: Mapping[str, Any]) -> Iterator[str]:
    for name, choices in (("ffn", tuple(FEED_FORWARDS)), ("position_interpolation", INTERPOLATIONS)):
        if config[name] not in choices:
            yield f"{name} is {config[name]!r}, but must be one of {', '.join(choices)}"
