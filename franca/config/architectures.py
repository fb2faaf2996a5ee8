"""The sizes of the backbones, and the names that a recipe may give them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """What ``model.width``, ``model.depth`` and ``model.num_heads`` are when they are not given."""

    width: int
    depth: int
    num_heads: int


ARCHITECTURES = {
    "vit_tiny": Architecture(192, 12, 3),
    "vit_small": Architecture(384, 12, 6),
    "vit_base": Architecture(768, 12, 12),
    "vit_large": Architecture(1024, 24, 16),
    "vit_giant": Architecture(1536, 40, 24),
}


def aliases() -> dict[str, str]:
    """Lower-case short names (``s``, ``small``, ``vits``, ``vit_s``, …) to the one name that configs keep."""
    short: dict[str, str] = {}
    for name in ARCHITECTURES:
        word = name.removeprefix("vit_")
        letter = "ti" if word == "tiny" else word[0]
        for alias in (word, letter):
            short |= {alias: name, f"vit{alias}": name, f"vit_{alias}": name}
    return short
