from __future__ import annotations

import pytest
import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.models.foreign import build_foreign
from franca.models.inferred import Untold
from franca.models.vision_transformer import VisionTransformer
from tests.models.released import same, small

State = dict[str, Tensor]


def test_positions_of_images_that_are_not_square() -> None:
    model = small(image_size_px=(42, 56))
    state = model.state_dict()
    with pytest.raises(CheckpointError, match=r"12 positions are no square. Pass image_size_px=\(H, W\)"):
        build_foreign(state, source="a.pth", verbose=False)
    with pytest.raises(CheckpointError, match="70 x 56 has 5 x 4 patches of 14 px, but the file holds 12 positions"):
        build_foreign(state, source="a.pth", untold=Untold(image_size_px=(70, 56)), verbose=False)
    found = build_foreign(state, source="a.pth", untold=Untold(image_size_px=(42, 56)), verbose=False)
    assert found.position_grid == (3, 4)
    assert same(found, model)
    turned = build_foreign(state, source="a.pth", untold=Untold(image_size_px=(56, 42)), verbose=False)
    assert not same(turned, model)


def test_heads_that_are_not_64_wide() -> None:
    model = small(width=24, num_heads=3)
    with pytest.raises(CheckpointError, match=r"width 24 is not a multiple of the usual 64. Pass num_heads="):
        build_foreign(model.state_dict(), source="a.pth", verbose=False)
    assert same(build_foreign(model.state_dict(), source="a.pth", untold=Untold(num_heads=3), verbose=False), model)
    with pytest.raises(CheckpointError, match=r"a.pth: .*width 24 is not a multiple of num_heads 5"):
        build_foreign(model.state_dict(), source="a.pth", untold=Untold(num_heads=5), verbose=False)


def test_another_interpolation_of_positions() -> None:
    model = small(position_interpolation="size")
    untold = Untold(position_interpolation="size")
    assert same(build_foreign(model.state_dict(), source="a.pth", untold=untold, verbose=False), model)
    assert not same(build_foreign(model.state_dict(), source="a.pth", verbose=False), model)


@pytest.mark.parametrize("ffn", ["mlp", "swiglu"])
@pytest.mark.parametrize("width", [24, 128, 384, 1000])
def test_every_ratio_is_found_again(ffn: str, width: int) -> None:
    for ratio in (0.5, 1.37, 8 / 3, 4.0, 5.33):
        with torch.device("meta"):
            model = VisionTransformer(
                width=width, depth=1, num_heads=1, patch_size_px=2, image_size_px=4, ffn=ffn, ffn_ratio=ratio
            )
        state = {name: torch.zeros(tensor.shape) for name, tensor in model.state_dict().items()}
        found = build_foreign(state, source="a.pth", untold=Untold(num_heads=1), verbose=False)
        assert ratio != 4.0 or found.config["ffn_ratio"] == 4.0


def without(*names: str) -> State:
    return {name: tensor for name, tensor in small().state_dict().items() if not name.endswith(names)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without("pos_embed") | {"rope_embed.periods": torch.ones(4)}, "rotary positions, such as DINOv3"),
        (without() | {"storage_tokens": torch.ones(1, 4, 128)}, "rotary positions, such as DINOv3"),
        (without("pos_embed"), "no pos_embed. It begins with cls_token"),
        (without("w12.weight"), "no blocks.0.mlp.fc1.weight or blocks.0.mlp.w12.weight"),
        ({"conv1.weight": torch.ones(2)}, "no vision transformer .* no cls_token, .* begins with conv1.weight"),
        (without() | {"cls_token": torch.ones(128)}, "no cls_token"),
        ({}, "begins with nothing"),
        (without() | {"pos_embed": torch.ones(1, 0, 128)}, "-1 positions are no square"),
        (without() | {"backbone.norm.bias": torch.ones(128)}, "more than one backbone: norm.bias comes twice"),
    ],
)
def test_what_is_no_backbone_of_ours(state: State, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build_foreign(state, source="a.pth", verbose=False)
