"""The backbones that have a name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from franca.config.architectures import ARCHITECTURES, aliases
from franca.errors import ConfigError
from franca.models.vision_transformer import VisionTransformer

__all__ = ["ARCHITECTURES", "RELEASES", "build_backbone", "build_release", "canonical_arch"]

# The released sizes: SwiGLU in all of them, no registers, layer scale 1e-5, 224 pixels. "g" is the giant.
RELEASES: dict[str, dict[str, Any]] = {
    f"franca_vit{arch.removeprefix('vit_')[0]}{patch}": {
        "arch": arch,
        "patch_size_px": patch,
        "image_size_px": 224,
        "ffn": "swiglu",
        "num_registers": 0,
        "layer_scale": 1e-5,
        "position_interpolation": "offset",
    }
    for arch in ("vit_small", "vit_base", "vit_large", "vit_giant")
    for patch in (14, 16)
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
