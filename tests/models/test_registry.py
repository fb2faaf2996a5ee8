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
    size = ARCHITECTURES[canonical_arch(name.removeprefix("franca_")[:4])]
    d, patch = size.width, int(name[-2:])
    hidden = {384: 1024, 768: 2048, 1024: 2736, 1536: 4096}[d]
    attention = 3 * d * (d + 1) + d * (d + 1)
    feed_forward = 2 * hidden * (d + 1) + d * (hidden + 1)
    block = attention + feed_forward + 4 * d + 2 * d  # two norms, two layer scales
    stem = d * (3 * patch**2 + 1) + d * (1 + (224 // patch) ** 2)  # patches, positions
    with torch.device("meta"):
        model = build_release(name)
    assert sum(p.numel() for p in model.parameters()) == size.depth * block + stem + 2 * d + 2 * d


def test_the_base_release_has_86_million_parameters() -> None:
    """The published figure."""
    with torch.device("meta"):
        model = build_release("franca_vitb14")
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 86


def test_release_names() -> None:
    assert list(RELEASES) == [f"franca_vit{size}{patch}" for size in "sblg" for patch in (14, 16)]


def test_sizes_can_be_replaced() -> None:
    model = build_backbone("tiny", patch_size_px=8, image_size_px=16, width=12, depth=1, num_heads=2, num_registers=3)
    assert (model.width, len(model.blocks), model.blocks[0].attn.num_heads, model.num_registers) == (12, 1, 2, 3)
