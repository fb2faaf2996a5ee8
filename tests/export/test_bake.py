from __future__ import annotations

import pytest
import torch

from franca.errors import ConfigError
from franca.export.bake import at_size, in_fp32, stored_size_px, without_layer_scale
from tests.export.models import KINDS, build


@pytest.mark.parametrize("interpolation", ["size", "offset"])
@pytest.mark.parametrize("size_px", [(12, 12), (8, 20), (24, 16)])
def test_same_function_at_the_size(size_px: tuple[int, int], interpolation: str) -> None:
    model = build(num_registers=2, position_interpolation=interpolation)
    baked = at_size(model, size_px)
    images = torch.randn(2, 3, *size_px)
    assert stored_size_px(baked) == size_px
    assert baked.position_grid == (size_px[0] // 4, size_px[1] // 4)
    torch.testing.assert_close(baked.features(images).patches, model.features(images).patches)
    assert not baked.training
    assert baked.preprocessing.mean == model.preprocessing.mean
    assert baked.preprocessing.image_size_px == min(size_px)


def test_the_model_given_stays() -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    at_size(model, (24, 16))
    without_layer_scale(model)
    assert model.config["image_size_px"] == [12, 12]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("size_px", [(13, 12), (12, 2), (0, 12)])
def test_sizes_that_are_no_multiples(size_px: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"not a multiple of the model's patch, 4 px: try \d+x\d+"):
        at_size(build(), size_px)


@pytest.mark.parametrize("options", KINDS)
def test_layer_scale_in_the_weights(options: dict[str, object]) -> None:
    model = build(**options)
    folded = without_layer_scale(model)
    assert not [name for name in folded.state_dict() if ".ls" in name]
    images = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-5, atol=1e-6)


def test_in_fp32() -> None:
    model = build().bfloat16()
    found = in_fp32(model)
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert torch.equal(found.pos_embed, model.pos_embed.float())
