from __future__ import annotations

import pytest
import torch

from franca.errors import ConfigError
from franca.models.registry import ARCHITECTURES, RELEASES, build_backbone, build_release, canonical_arch


@pytest.mark.parametrize("name", ["vit_small", "VIT_SMALL", "ViT-S", "vits", "S", "small", " vit_s "])
def test_spellings_of_small(name: str) -> None:
    assert canonical_arch(name) == "vit_small"


def test_every_architecture_has_its_own_name_and_word() -> None:
    for name in ARCHITECTURES:
        assert canonical_arch(name) == canonical_arch(name.removeprefix("vit_")) == name


def test_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'vit_bas'. Did you mean vit_base\?.*vit_tiny, vit_small"):
        canonical_arch("vit_bas")


@pytest.mark.parametrize("name", RELEASES)
def test_releases_have_the_parameters_that_paper_and_pencil_give(name: str) -> None:
    family, rest = name.split("_vit")
    d, depth = {"s": (384, 12), "b": (768, 12), "l": (1024, 24), "g": (1536, 40)}[rest[0]]
    patch, registers = int(rest[1:3]), 4 if name.endswith("_reg") else 0
    attention = 3 * d * (d + 1) + d * (d + 1)
    if family == "franca" or rest[0] == "g":
        hidden = {384: 1024, 768: 2048, 1024: 2736, 1536: 4096}[d]
        feed_forward = 2 * hidden * (d + 1) + d * (hidden + 1)
    else:
        feed_forward = 4 * d * (d + 1) + d * (4 * d + 1)
    block = attention + feed_forward + 4 * d + 2 * d  # two norms, two layer scales
    side = (224 if family == "franca" else 518) // patch
    stem = d * (3 * patch**2 + 1) + d * (1 + side**2)  # patches, positions
    with torch.device("meta"):
        model = build_release(name)
    tokens = (2 + registers) * d  # class, mask, registers
    assert sum(p.numel() for p in model.parameters()) == depth * block + stem + tokens + 2 * d
    assert {block.attn.num_heads for block in model.blocks} == {d // 64}
    assert model.position_interpolation == ("size" if registers else "offset")


def test_the_base_release_has_86_million_parameters() -> None:
    """The published figure."""
    with torch.device("meta"):
        model = build_release("franca_vitb14")
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 86


def test_release_names() -> None:
    franca = [f"franca_vit{size}{patch}" for size in "sblg" for patch in (14, 16)]
    dinov2 = [f"dinov2_vit{size}14{suffix}" for size in "sblg" for suffix in ("", "_reg")]
    assert list(RELEASES) == franca + dinov2


def test_sizes_can_be_replaced() -> None:
    model = build_backbone("tiny", patch_size_px=8, image_size_px=16, width=12, depth=1, num_heads=2, num_registers=3)
    assert (model.width, len(model.blocks), model.blocks[0].attn.num_heads, model.num_registers) == (12, 1, 2, 3)
