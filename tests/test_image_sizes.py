"""Images of any height and width: policies, grids, positions and their cache."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from franca.errors import ConfigError, DataError
from franca.layers.position import INTERPOLATIONS
from franca.models.vision_transformer import VisionTransformer
from tests.models.test_vision_transformer import small


def evaluated(**options: object) -> VisionTransformer:
    return small(**options).eval()


@pytest.mark.parametrize("num_registers", [0, 4])
@pytest.mark.parametrize(("height", "width"), [(20, 8), (8, 20), (12, 8), (4, 4)])
def test_every_output_has_the_grid_of_the_images(num_registers: int, height: int, width: int) -> None:
    model, images = small(num_registers=num_registers), torch.randn(2, 3, height, width)
    grid = (height // 4, width // 4)
    features, dictionary = model.features(images), model.forward_features(images)
    assert features.grid == dictionary["grid"] == grid
    assert features.patches.shape == dictionary["x_norm_patchtokens"].shape == (2, grid[0] * grid[1], 16)
    assert features.registers.shape == dictionary["x_norm_regtokens"].shape == (2, num_registers, 16)
    (maps,) = model.get_intermediate_layers(images, reshape=True)
    assert maps.shape == (2, 16, *grid)
    torch.testing.assert_close(maps.flatten(2).transpose(1, 2), features.patches)
    assert torch.equal(maps, features.maps())


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(12, 8), (20, 8), (8, 36), (13, 30)])
def test_a_transposed_model_sees_transposed_images_alike(interpolation: str, size: tuple[int, int]) -> None:
    """Were height and width swapped anywhere, this would not hold."""
    model = evaluated(position_interpolation=interpolation)
    twin = evaluated(position_interpolation=interpolation, image_size_px=(8, 12))
    state = dict(model.state_dict())
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].transpose(2, 3)
    patches = state["pos_embed"][:, 1:].unflatten(1, (3, 2)).transpose(1, 2).flatten(1, 2)
    state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], patches], dim=1)
    twin.load_state_dict(state)
    images = torch.randn(2, 3, *size)
    features, transposed = model.features(images), twin.features(images.transpose(2, 3))
    assert transposed.grid == features.grid[::-1]
    torch.testing.assert_close(features.cls, transposed.cls, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features.maps(), transposed.maps().transpose(2, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("policy", "fit"),
    [
        ("pad", lambda images: F.pad(images, (0, 1, 0, 2))),
        ("crop", lambda images: images[..., :8, :16]),
        ("resize", lambda images: F.interpolate(images, (12, 20), mode="bicubic", antialias=True)),
    ],
)
def test_policies_in_every_call(policy: str, fit) -> None:
    images = torch.randn(2, 3, 10, 19)
    expected = small().features(fit(images))
    model = small()
    assert model.features(images, size_policy=policy).grid == expected.grid
    assert model.forward_features(images, size_policy=policy)["grid"] == expected.grid
    for cls in (
        model(images, size_policy=policy),
        model.features(images, size_policy=policy).cls,
        model.forward_features(images, size_policy=policy)["x_norm_clstoken"],
        model.get_intermediate_layers(images, return_class_token=True, size_policy=policy)[0][1],
    ):
        torch.testing.assert_close(cls, expected.cls)


def test_evaluation_pads_and_training_refuses() -> None:
    model, images = small(), torch.randn(1, 3, 10, 19)
    for wrong in (model, model.features, model.forward_features, model.get_intermediate_layers):
        with pytest.raises(DataError, match=r"10 x 19 pixels.*size_policy"):
            wrong(images)
    model.eval()
    torch.testing.assert_close(model(images), model(images, size_policy="pad"))
    with pytest.raises(DataError, match="10 x 19 pixels"):
        model(images, size_policy="error")
    with pytest.raises(DataError, match="10 x 19 pixels"):
        model.forward_crops([images])
    with pytest.raises(ConfigError, match=r"'stretch'.*pad, resize, crop, error"):
        model(images, size_policy="stretch")


def test_images_below_one_patch() -> None:
    model, images = evaluated(), torch.randn(1, 3, 3, 2)
    assert model.features(images).grid == model.features(images, size_policy="resize").grid == (1, 1)
    with pytest.raises(DataError, match="3 x 2 pixels hold no whole patch"):
        model(images, size_policy="crop")


def test_masks_are_on_the_grid_that_the_policy_leaves() -> None:
    model, images = evaluated(), torch.randn(1, 3, 10, 8)
    mask = torch.zeros(1, 6, dtype=torch.bool)
    mask[0, 5] = True
    changed = images.clone()
    changed[..., 8:, 4:] += 1
    assert torch.equal(model.features(images, mask).cls, model.features(changed, mask).cls)
    with pytest.raises(DataError, match=r"2 x 2 patches must be bool \[1, 4\]"):
        model.features(images, mask, size_policy="crop")


def resized(model: VisionTransformer) -> Tensor:
    """Class embeddings on a grid that is not the stored one, without autograd."""
    with torch.no_grad():
        return model(torch.ones(1, 3, 20, 16))


def uncached(model: VisionTransformer) -> Tensor:
    return model(torch.ones(1, 3, 20, 16)).detach()


def test_the_cache_changes_nothing() -> None:
    model = evaluated()
    first, second = resized(model), resized(model)
    assert len(model._position_cache) == 1
    assert torch.equal(first, second)
    torch.testing.assert_close(first, uncached(model))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.pos_embed.data.mul_(2),
        lambda model: torch.nn.init.normal_(model.pos_embed),
        lambda model: model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()}),
        lambda model: model.load_state_dict(
            {name: 2 * value for name, value in model.state_dict().items()}, assign=True
        ),
        lambda model: setattr(model.pos_embed, "data", 2 * model.pos_embed.data),
        lambda model: model.initialize(seed=3),
    ],
)
def test_the_cache_is_never_stale(change) -> None:
    model = evaluated()
    before = resized(model)
    change(model)
    assert not torch.allclose(resized(model), before, atol=1e-3)
    torch.testing.assert_close(resized(model), uncached(model))


def test_the_cache_follows_the_dtype() -> None:
    model = evaluated()
    resized(model)
    model.double()
    with torch.no_grad():
        assert model(torch.ones(1, 3, 20, 16).double()).dtype == torch.float64


def test_changing_the_mode_empties_the_cache() -> None:
    model = evaluated()
    for change in (model.train, model.eval):
        resized(model)
        assert len(model._position_cache) == 1
        change()
        assert len(model._position_cache) == 0


def test_training_and_autograd_do_not_use_the_cache() -> None:
    model = evaluated()
    model(torch.ones(1, 3, 20, 16)).sum().backward()
    assert model.pos_embed.grad.abs().sum() > 0
    with torch.no_grad():
        model.forward_crops([torch.ones(1, 3, 20, 16)])
        model(torch.ones(1, 3, 12, 8))  # the stored grid
    assert len(model._position_cache) == 0


def test_what_inference_mode_cached_serves_others() -> None:
    model = evaluated()
    with torch.inference_mode():
        model(torch.ones(1, 3, 20, 16))
    torch.testing.assert_close(resized(model), uncached(model))


def test_the_cache_is_no_state() -> None:
    model = evaluated()
    names = set(model.state_dict())
    resized(model)
    assert set(model.state_dict()) == names
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert len(twin._position_cache) == 0
        assert torch.equal(resized(twin), resized(model))
