"""Is a description of a backbone one that can be built?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from franca.errors import ConfigError
from franca.layers.mlp import FEED_FORWARDS
from franca.layers.position import INTERPOLATIONS

COUNTS = ("width", "depth", "num_heads", "patch_size_px", "in_chans")


def image_size(size_px: int | Sequence[int]) -> tuple[int, int]:
    """Height and width from a pair, or from one number for both."""
    if isinstance(size_px, int):
        return size_px, size_px
    height, width = size_px
    return height, width


def check_architecture(config: Mapping[str, Any]) -> None:
    """Check the arguments of a `VisionTransformer`.

    Raises:
        ConfigError: with every problem found.
    """
    problems = [*_numbers(config), *_sizes(config), *_choices(config)]
    if problems:
        raise ConfigError("This backbone cannot be built: " + "; ".join(problems) + ".")


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
