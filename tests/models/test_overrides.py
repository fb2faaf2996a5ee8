"""Words beside a name: which are known, and what they may change of given weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from franca.errors import CheckpointError, ConfigError
from franca.models.overrides import KNOWN, check_held, check_known, our_spelling, with_harmless
from franca.models.vision_transformer import VisionTransformer
from tests.models.reference import randomize

HELD = {"width": 24, "depth": 2, "layer_scale": 0.3, "image_size_px": 16, "position_interpolation": "size"}


def small() -> VisionTransformer:
    backbone = VisionTransformer(width=24, depth=2, num_heads=3, patch_size_px=4, image_size_px=16, layer_scale=0.3)
    randomize(backbone)
    return backbone.eval()


def test_words_of_other_hubs() -> None:
    assert our_spelling({"img_size": 28, "depth": 2}) == {"image_size_px": 28, "depth": 2}
    with pytest.raises(ConfigError, match="img_size and image_size_px are the same"):
        our_spelling({"img_size": 28, "image_size_px": 28})


def test_every_argument_of_a_backbone_is_known() -> None:
    check_known("mine", dict.fromkeys(KNOWN))
    assert {"arch", "width", "num_registers"} <= set(KNOWN)
    with pytest.raises(ConfigError, match=r"takes no num_register\. Did you mean num_registers\? Known are: arch"):
        check_known("mine", {"num_register": 4})


def test_what_is_harmless_changes_no_feature() -> None:
    backbone, images = small(), torch.randn(2, 3, 24, 24)
    assert with_harmless(backbone, {"depth": 2}) is backbone
    changed = with_harmless(backbone, {"image_size_px": 24, "stochastic_depth": 0.1})
    assert changed.position_grid == (6, 6) and changed.stochastic_depth == 0.1
    torch.testing.assert_close(changed(images), backbone(images))
    with pytest.raises(ConfigError, match="25x25 is not a multiple"):
        with_harmless(backbone, {"image_size_px": 25})


@pytest.mark.parametrize(
    ("wanted", "overrides"),
    [
        ({}, {}),
        ({"image_size_px": 28, "layer_scale": 1e-5, "position_interpolation": "offset"}, {}),
        ({"layer_scale": 1e-5, "image_size_px": 28}, {"layer_scale": 1e-5, "image_size_px": 28}),
    ],
)
def test_what_may_differ(wanted: dict[str, Any], overrides: dict[str, Any]) -> None:
    check_held(HELD, HELD | wanted, overrides, "They do not fit")


@pytest.mark.parametrize(
    ("wanted", "overrides", "message"),
    [
        ({"width": 48, "depth": 3}, {}, "They do not fit: width is 24 instead of 48, depth is 2 instead of 3"),
        ({"position_interpolation": "offset"}, {"position_interpolation": "offset"}, "'size' instead of 'offset'"),
        ({"layer_scale": None}, {}, "it has layer scale"),
        ({"layer_scale": None}, {"layer_scale": None}, "layer_scale is 0.3 instead of None"),
    ],
)
def test_what_makes_weights_unfit(wanted: dict[str, Any], overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        check_held(HELD, HELD | wanted, overrides, "They do not fit")
