from __future__ import annotations

import re

import pytest
import torch

from franca.errors import CheckpointError
from franca.models.registry import RELEASES, build_release
from franca.models.releases import WEIGHTS, Weights, choices, default_weights, find_weights, weights_of

PUBLIC = [weights for weights in WEIGHTS if weights.public]


def label(weights: Weights) -> str:
    return f"{weights.model}-{weights.name}"


def test_names_are_of_models_and_unique_in_any_letter_case() -> None:
    assert {weights.model for weights in WEIGHTS} <= set(RELEASES)
    spellings = [(weights.model, spelling) for weights in WEIGHTS for spelling in weights.spellings]
    assert len(set(spellings)) == len(spellings)
    files = [weights.file for weights in PUBLIC]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("weights", WEIGHTS, ids=label)
def test_weights_are_there_or_say_why_not(weights: Weights) -> None:
    assert weights.licence and weights.source
    assert bool(weights.urls) == bool(weights.file) == weights.public != bool(weights.why_not_public)


@pytest.mark.parametrize("weights", PUBLIC, ids=label)
def test_addresses_and_digests(weights: Weights) -> None:
    assert all(re.fullmatch(r"https://[\w./-]+", url) for url in weights.urls)
    assert weights.file.startswith(weights.model.removesuffix("_reg")) and weights.file.endswith(".pth")
    if len(weights.urls) == 1:
        assert weights.urls[0].endswith(f"/{weights.file}")
        assert weights.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
    else:
        stem = weights.file.removesuffix(".pth")
        ends = [f"/{stem}_chunked.tar.gz.part_a{letter}" for letter in "abc"]
        assert [url[-len(end) :] for url, end in zip(weights.urls, ends, strict=True)] == ends


@pytest.mark.parametrize("weights", WEIGHTS, ids=label)
def test_weights_fit_the_architecture_of_their_name(weights: Weights) -> None:
    with torch.device("meta"):
        model = build_release(weights.model, image_size_px=weights.image_size_px)
    assert model.position_grid == weights.grid
    assert weights.patch_size_px == model.patch_size_px == 14
    assert weights.image_size_px in ((224, 224), (518, 518))
    assert weights.name.endswith("_518") <= (weights.image_size_px == (518, 518))
    assert weights.name.endswith("_224") <= (weights.image_size_px == (224, 224))


def test_the_three_giants_in_pieces_and_the_digests() -> None:
    """Facts written down a second time, where a slip in the table would show."""
    giant = default_weights("franca_vitg14")
    assert giant.urls[2] == (
        "https://github.com/valeoai/Franca/releases/download/v1.0.0/franca_vitg14_Laion600M_chunked.tar.gz.part_ac"
    )
    assert giant.grid == (16, 16)
    base = default_weights("dinov2_vitb14_reg")
    assert base.urls == ("https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth",)
    assert base.sha256 == "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71"
    assert sum(weights.sha256 is not None for weights in WEIGHTS) == 8


@pytest.mark.parametrize(
    ("model", "spelling", "name"),
    [
        ("franca_vitb14", "IN21K", "IN21K"),
        ("franca_vitb14", "in21k", "IN21K"),
        ("franca_vitb14", "Dinov2_In21k", "DINOV2_IN21K"),
        ("franca_vitl14", "LAION600m", "LAION"),
        ("franca_vitl14", "Laion600M", "LAION"),
        ("franca_vitl14", "Laion600M_224", "LAION_224"),
        ("franca_vitl14", "laion_518", "LAION_518"),
        ("franca_vitg14", "LAION600M", "LAION"),
        ("dinov2_vits14", "lvd142m", "LVD142M"),
    ],
)
def test_spellings(model: str, spelling: str, name: str) -> None:
    found = find_weights(model, spelling)
    assert found is not None and found.name == name


def test_weights_of_another_model_are_not_found() -> None:
    assert find_weights("franca_vitb14", "LAION") is None
    assert find_weights("franca_vits14", "IN21K") is None


@pytest.mark.parametrize(
    ("model", "why"), [("franca_vitl14", "identical to DINOv2-L"), ("franca_vitg14", "release is incomplete")]
)
def test_weights_that_are_not_public(model: str, why: str) -> None:
    with pytest.raises(CheckpointError, match=f"IN21K of {model} are not public: .*{why}.*LAION"):
        find_weights(model, "in21k")


def test_the_default_is_the_first_public_one() -> None:
    defaults = {model: default_weights(model).name for model in RELEASES if weights_of(model)}
    assert {model: name for model, name in defaults.items() if model.startswith("franca")} == {
        "franca_vitb14": "IN21K",
        "franca_vitl14": "LAION",
        "franca_vitg14": "LAION",
    }
    assert set(defaults) == {"franca_vitb14", "franca_vitl14", "franca_vitg14"} | {
        f"dinov2_vit{size}14{suffix}" for size in "sblg" for suffix in ("", "_reg")
    }
    with pytest.raises(CheckpointError, match=r"franca_vits14 has no public weights.*pretrained=False"):
        default_weights("franca_vits14")


def test_choices_are_complete() -> None:
    assert choices("franca_vitg14") == (
        "Weights of franca_vitg14: LAION (default), IN21K (not public). A path or a URL of a file works too."
    )
    assert choices("franca_vits16").startswith("Weights of franca_vits16: none by name.")
