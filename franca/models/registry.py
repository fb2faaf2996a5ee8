"""The backbones that have a name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from franca.config.architectures import ARCHITECTURES, aliases
from franca.errors import ConfigError
from franca.models.vision_transformer import VisionTransformer

__all__ = [
    "ARCHITECTURES",
    "RELEASES",
    "build_backbone",
    "build_release",
    "canonical_arch",
    "trained_interpolation",
]


def trained_interpolation(num_registers: int) -> str:
    """How the position embeddings of the released families were resized in training: by size with registers."""
    return "size" if num_registers else "offset"


def _release(arch: str, *, patch_size_px: int, image_size_px: int, ffn: str, num_registers: int = 0) -> dict[str, Any]:
    return {
        "arch": arch,
        "patch_size_px": patch_size_px,
        "image_size_px": image_size_px,
        "ffn": ffn,
        "num_registers": num_registers,
        "layer_scale": 1e-5,
        "position_interpolation": trained_interpolation(num_registers),
    }


SIZES = ("vit_small", "vit_base", "vit_large", "vit_giant")  # by their first letter in a name: "g" is the giant

# What a name builds. Franca: SwiGLU in all sizes, no registers. DINOv2: SwiGLU in the giant alone, four registers or
# none. Which weights there are for a name stands in `franca.models.releases`.
RELEASES: dict[str, dict[str, Any]] = {
    f"franca_vit{arch[4]}{patch}": _release(arch, patch_size_px=patch, image_size_px=224, ffn="swiglu")
    for arch in SIZES
    for patch in (14, 16)
} | {
    f"dinov2_vit{arch[4]}14{'_reg' if num_registers else ''}": _release(
        arch,
        patch_size_px=14,
        image_size_px=518,
        ffn="swiglu" if arch == "vit_giant" else "mlp",
        num_registers=num_registers,
    )
    for arch in SIZES
    for num_registers in (0, 4)
}


def canonical_arch(name: str) -> str:
    """The one name of an architecture: ``S``, ``small``, ``ViT-S`` and ``vits`` are all ``vit_small``.

    Raises:
        ConfigError: for an unknown name, with the known ones.
    """
    key = name.strip().lower().replace("-", "_")
    known = {**{arch: arch for arch in ARCHITECTURES}, **aliases()}
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {known[near[0]]}?" if near else ""
    raise ConfigError(f"Unknown architecture {name!r}.{hint} Choose one of: {', '.join(ARCHITECTURES)}.")


def build_backbone(
    arch: str,
    *,
    patch_size_px: int,
    image_size_px: int | Sequence[int],
    width: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
    **options: Any,
) -> VisionTransformer:
    """Build a backbone by the name of its architecture.

    Args:
        arch: see `canonical_arch`.
        patch_size_px: height and width of a patch, in pixels.
        image_size_px: fixes the grid of the position embeddings.
        width: D; None takes the architecture's, and so for the next two.
        depth: blocks.
        num_heads: attention heads.
        options: further arguments of `VisionTransformer`.

    Raises:
        ConfigError: if the architecture is unknown or cannot be built.
    """
    size = ARCHITECTURES[canonical_arch(arch)]
    return VisionTransformer(
        width=size.width if width is None else width,
        depth=size.depth if depth is None else depth,
        num_heads=size.num_heads if num_heads is None else num_heads,
        patch_size_px=patch_size_px,
        image_size_px=image_size_px,
        **options,
    )


def build_release(name: str, **overrides: Any) -> VisionTransformer:
    """Build a backbone of `RELEASES`, with some of its arguments replaced."""
    return build_backbone(**{**RELEASES[name], **overrides})
