"""What may be said of a backbone beside its name: words that are known, and what they may change of given weights."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from franca.errors import CheckpointError, ConfigError
from franca.models.check import image_size
from franca.models.rebuild import at_size, rebuild
from franca.models.vision_transformer import VisionTransformer

UNTOLD = ("num_heads", "position_interpolation", "image_size_px")  # of files that do not tell
# What may be given with weights, because it changes nothing of what they compute: the backbone gets it.
HARMLESS = ("image_size_px", "stochastic_depth", "layer_scale")
# What may differ between a name and a file loaded under it where it is not given.
FREE = (*HARMLESS, "position_interpolation")
SPELLINGS = {"img_size": "image_size_px"}  # as the hubs of DINOv2 and Franca have it
KNOWN = ("arch", *list(inspect.signature(VisionTransformer).parameters))


def our_spelling(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The words of other hubs as ours.

    Raises:
        ConfigError: for the same argument in two spellings.
    """
    for theirs, ours in SPELLINGS.items():
        if theirs in overrides and ours in overrides:
            raise ConfigError(f"{theirs} and {ours} are the same argument: leave out one of them.")
    return {SPELLINGS.get(key, key): value for key, value in overrides.items()}


def check_known(name: str, overrides: Mapping[str, Any]) -> None:
    """Raises a ConfigError for words that no backbone knows."""
    for key in overrides:
        if key not in KNOWN:
            near = difflib.get_close_matches(key, KNOWN, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{name} takes no {key}.{hint} Known are: {', '.join(KNOWN)}.")


def with_harmless(backbone: VisionTransformer, overrides: Mapping[str, Any]) -> VisionTransformer:
    """The same function with those of `HARMLESS` that are given.

    Raises:
        ConfigError: if a size is no multiple of the patch.
    """
    size_px = overrides.get("image_size_px")
    if size_px is not None:
        backbone = at_size(backbone, image_size(size_px))
    changes = {key: overrides[key] for key in HARMLESS if key in overrides and key != "image_size_px"}
    return rebuild(backbone, backbone.state_dict(), **changes) if changes else backbone


def check_held(held: Mapping[str, Any], wanted: Mapping[str, Any], overrides: Mapping[str, Any], problem: str) -> None:
    """Check that a file holds the architecture that a name and its overrides describe.

    Args:
        held: arguments of the backbone in the file.
        wanted: those that are described.
        overrides: those that were given.
        problem: how the message begins.

    Raises:
        CheckpointError: with every argument that differs.
    """
    different = [
        f"{key} is {held[key]!r} instead of {wanted[key]!r}"
        for key in wanted
        if _counts(key, overrides, held, wanted) and held[key] != wanted[key]
    ]
    scales = [config["layer_scale"] is not None for config in (held, wanted)]
    if scales[0] != scales[1] and "layer_scale" not in overrides:
        different.append(f"it has {'layer scale' if scales[0] else 'no layer scale'}")
    if different:
        raise CheckpointError(f"{problem}: {', '.join(different)}.")


def _counts(key: str, overrides: Mapping[str, Any], held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a difference in one argument makes weights unfit."""
    if key == "layer_scale":  # its first value does not matter, but whether there is any
        return key in overrides and (held[key] is None) != (wanted[key] is None)
    return key not in FREE or (key in overrides and key not in HARMLESS)
