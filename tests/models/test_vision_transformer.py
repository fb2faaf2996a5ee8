from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from franca.errors import ConfigError, DataError
from franca.layers.attention import Attention, set_attention
from franca.layers.block import Block
from franca.models.check import block_indices
from franca.models.features import Features
from franca.models.registry import RELEASES, build_release
from franca.models.vision_transformer import VisionTransformer
from tests.models import reference

SMALL: dict[str, Any] = {"width": 16, "depth": 3, "num_heads": 2, "patch_size_px": 4, "image_size_px": (12, 8)}


def small(**options: Any) -> VisionTransformer:
    """A small backbone with every parameter drawn at random."""
    model = VisionTransformer(**{**SMALL, **options})
    reference.randomize(model)
    return model


class Flops(TorchDispatchMode):
    """Counts as torch's FlopCounterMode does, but without hooks on modules, which the model would notice."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def tensors(features: Features) -> list[Tensor]:
    return [features.cls, features.registers, features.patches]


@pytest.mark.parametrize("ffn", ["mlp", "swiglu"])
@pytest.mark.parametrize("num_registers", [0, 4])
@pytest.mark.parametrize("layer_scale", [None, 1e-5])
def test_equals_the_formula(ffn: str, num_registers: int, layer_scale: float | None) -> None:
    model = small(ffn=ffn, num_registers=num_registers, layer_scale=layer_scale)
    images, masks = torch.randn(2, 3, 12, 8), torch.tensor([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]]).bool()
    state = model.state_dict()
    for mask in (None, masks):
        expected = reference.forward(state, model.config, images, mask)
        normed = reference.norm(expected, state, "norm")
        found = model.forward_features(images, mask)
        torch.testing.assert_close(found["x_prenorm"], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["x_norm_clstoken"], normed[:, 0], rtol=1e-4, atol=1e-5)
        assert found["x_norm_regtokens"].shape == (2, num_registers, 16)
        torch.testing.assert_close(found["x_norm_regtokens"], normed[:, 1 : 1 + num_registers], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["x_norm_patchtokens"], normed[:, 1 + num_registers :], rtol=1e-4, atol=1e-5)
        assert found["masks"] is mask


@pytest.mark.parametrize("name", [name for name in RELEASES if name.endswith("14")])
def test_releases_equal_the_formula(name: str) -> None:
    """At their full width, two blocks deep."""
    model = build_release(name, depth=2, image_size_px=28)
    reference.randomize(model)
    images = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        expected = reference.forward(model.state_dict(), model.config, images, None)
        torch.testing.assert_close(model.forward_features(images)["x_prenorm"], expected, rtol=1e-3, atol=1e-3)


def test_parameters_are_named_as_in_dinov2() -> None:
    model = VisionTransformer(**{**SMALL, "depth": 1}, ffn="swiglu", num_registers=2)
    linear = ["attn.qkv", "attn.proj", "mlp.w12", "mlp.w3", "norm1", "norm2"]
    expected = {f"blocks.0.{name}.{kind}" for name in linear for kind in ("weight", "bias")}
    expected |= {"blocks.0.ls1.gamma", "blocks.0.ls2.gamma", "norm.weight", "norm.bias"}
    expected |= {"patch_embed.proj.weight", "patch_embed.proj.bias"}
    expected |= {"cls_token", "pos_embed", "register_tokens", "mask_token"}
    assert set(model.state_dict()) == expected
    assert model.pos_embed.shape == (1, 1 + 3 * 2, 16)


@pytest.mark.parametrize("autocast", [False, True])
def test_packed_crops_equal_one_forward_per_group(autocast: bool) -> None:
    model = small(num_registers=1)
    crops = [torch.randn(2, 3, 12, 8), torch.randn(3, 3, 8, 8), torch.randn(1, 3, 4, 16)]
    masks = [torch.rand(2, 6) < 0.5, None, torch.ones(1, 4, dtype=torch.bool)]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        packed = model.forward_crops(crops, masks)
        alone = [model.features(images, mask) for images, mask in zip(crops, masks, strict=True)]
    tolerance = 0.1 if autocast else 1e-6
    for one, other in zip(packed, alone, strict=True):
        assert one.grid == other.grid
        assert one.cls.dtype == torch.float32
        for a, b in zip(tensors(one), tensors(other), strict=True):
            torch.testing.assert_close(a, b, rtol=10 * tolerance, atol=10 * tolerance)


def test_packed_gradients_equal_the_sum_of_the_groups() -> None:
    model = small(num_registers=1).double()
    crops = [torch.randn(2, 3, 12, 8).double(), torch.randn(3, 3, 8, 8).double()]
    masks = [torch.rand(2, 6) < 0.5, None]

    def loss(features: Features) -> Tensor:
        return features.cls.sin().sum() + features.patches.cos().sum()

    parameters = list(model.parameters())
    packed = torch.autograd.grad(sum(map(loss, model.forward_crops(crops, masks))), parameters, allow_unused=True)
    alone = sum(loss(model.features(images, mask)) for images, mask in zip(crops, masks, strict=True))
    expected = torch.autograd.grad(alone, parameters)
    for found, wanted in zip(packed, expected, strict=True):
        torch.testing.assert_close(found, wanted)
        assert wanted.abs().max() > 0


def test_masked_pixels_do_not_matter() -> None:
    model = small()
    images, mask = torch.randn(1, 3, 12, 8), torch.tensor([[True, False, False, False, False, False]])
    changed = images.clone()
    changed[:, :, :4, :4] += 1
    assert torch.equal(model.features(images, mask).patches, model.features(changed, mask).patches)
    assert not torch.allclose(model.features(images).patches, model.features(changed).patches, atol=1e-3)


def test_attention_kernels_agree() -> None:
    model = small()
    images = torch.randn(2, 3, 12, 8)
    results = []
    for kernel in ("sdpa", "plain"):
        set_attention(model, kernel)
        results.append(model(images))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def test_stochastic_depth_follows_its_seed_alone() -> None:
    model = small(stochastic_depth=0.5)
    crops = [torch.randn(6, 3, 12, 8)]
    without = model.forward_crops(crops)[0].cls
    first = model.forward_crops(crops, stochastic_depth_seed=1)[0].cls
    assert torch.equal(model.train().forward_crops(crops)[0].cls, without)
    assert torch.equal(model.eval().forward_crops(crops, stochastic_depth_seed=1)[0].cls, first)
    assert not torch.equal(first, without)
    assert not torch.equal(first, model.forward_crops(crops, stochastic_depth_seed=2)[0].cls)
    assert torch.equal(small().forward_crops(crops, stochastic_depth_seed=1)[0].cls, small()(crops[0]))


def test_class_embeddings_do_not_hold_the_patches_in_memory() -> None:
    model, images = small(), torch.randn(2, 3, 12, 8)
    cls = model(images)
    assert cls.untyped_storage().nbytes() == cls.nbytes
    assert torch.equal(cls, model.features(images).cls)


@pytest.mark.parametrize("options", [{}, {"num_registers": 2}, {"ffn": "swiglu"}, {"layer_scale": None}, {"depth": 1}])
@torch.no_grad()
def test_inference_without_the_patches_of_the_last_block(options: dict[str, Any]) -> None:
    model, images, masks = small(**options), torch.randn(2, 3, 12, 8), torch.eye(2, 6).bool()
    with Flops() as alone:
        cls = model(images, masks)
    with Flops() as everything:
        expected = model.features(images, masks).cls
    assert 0 < alone.total < everything.total
    torch.testing.assert_close(cls, expected, rtol=1e-5, atol=1e-6)
    assert cls.untyped_storage().nbytes() == cls.nbytes


@pytest.mark.parametrize("part", ["", "attn", "attn.proj", "mlp.fc2", "norm2"])
@torch.no_grad()
def test_hooks_on_the_last_block_see_every_token(part: str) -> None:
    model, images, seen = small(), torch.randn(2, 3, 12, 8), []
    expected = model.features(images).cls
    model.blocks[-1].get_submodule(part).register_forward_hook(lambda _, inputs, output: seen.append(output))
    assert torch.equal(model(images), expected)
    assert [output.shape[0] for output in seen] == [2 * 7]


@pytest.mark.parametrize("name", [name for name, part in small().named_modules() if isinstance(part, nn.Linear)])
@pytest.mark.parametrize("training", [True, False])
def test_hooks_on_linear_layers_see_every_token(name: str, training: bool) -> None:
    """Also where a layer scale would be multiplied into the weights: in training, and in inference on many tokens."""
    model, images, seen = small(), torch.randn(20, 3, 12, 8), []
    expected = model(images).detach()
    model.get_submodule(name).register_forward_hook(lambda _, inputs, output: seen.append(output.shape[0]))
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-5)
    assert seen == [20 * 7]


@torch.no_grad()
def test_hooks_on_all_modules_see_every_block() -> None:
    model, seen = small(), []
    handle = register_module_forward_hook(lambda module, inputs, output: seen.append(type(module)))
    try:
        model(torch.randn(2, 3, 12, 8))
    finally:
        handle.remove()
    assert seen.count(Block) == len(model.blocks)


@torch.no_grad()
def test_blocks_may_be_cut_off() -> None:
    model, images = small(), torch.randn(2, 3, 12, 8)
    for depth in (2, 1, 0):
        model.blocks = model.blocks[:depth]
        torch.testing.assert_close(model(images), model.features(images).cls, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("gradients", [True, False])
def test_traces_of_torch_jit(gradients: bool) -> None:
    """torch.jit.trace checks itself: it runs the model again without gradients and compares graphs."""
    model, images = small(num_registers=1), torch.randn(2, 3, 16, 8)
    with torch.set_grad_enabled(gradients):
        traced = torch.jit.trace(model, images)
    many = torch.randn(30, 3, 16, 8)
    torch.testing.assert_close(traced(many), model(many), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_last_block_of_another_type_is_used_as_it_is() -> None:
    class Nothing(Attention):
        def forward(self, tokens: Tensor, *_: Any) -> Tensor:
            return torch.zeros_like(tokens)

    model, images = small(), torch.randn(2, 3, 12, 8)
    model.blocks[-1].attn = Nothing(16, 2)
    assert torch.equal(model(images), model.features(images).cls)


@torch.no_grad()
def test_a_linear_layer_of_another_type_in_the_last_block_is_called() -> None:
    model, images = small(layer_scale=None), torch.randn(2, 3, 12, 8)
    before = model(images)
    model.blocks[-1].attn.qkv = nn.Sequential(model.blocks[-1].attn.qkv, nn.Tanh())
    assert not torch.allclose(model(images), before, rtol=1e-3)
    torch.testing.assert_close(model(images), model.features(images).cls, rtol=1e-5, atol=1e-6)


def test_class_embeddings_have_the_same_gradient_in_both_ways() -> None:
    """With a gradient the last block computes every token, which costs nothing that fine-tuning would notice."""
    model, images = small(), torch.randn(2, 3, 12, 8)
    weight = model.blocks[-1].mlp.fc2.weight
    (alone,) = torch.autograd.grad(model(images).square().sum(), weight)
    (together,) = torch.autograd.grad(model.features(images).cls.square().sum(), weight)
    assert torch.equal(alone, together)


@pytest.mark.parametrize("in_chans", [1, 4])
def test_other_channels_than_three(in_chans: int) -> None:
    model = small(in_chans=in_chans)
    images = torch.randn(2, in_chans, 12, 8)
    expected = reference.forward(model.state_dict(), model.config, images, None)
    torch.testing.assert_close(model.forward_features(images)["x_prenorm"], expected, rtol=1e-4, atol=1e-5)
    assert model.preprocessing.mean == model.preprocessing.std == (0.5,) * in_chans
    with pytest.raises(DataError, match=rf"\[B, {in_chans}, H, W\]"):
        model(torch.randn(2, 3, 12, 8))


def test_config_rebuilds_the_architecture() -> None:
    model = VisionTransformer(**SMALL, ffn="swiglu", num_registers=2, layer_scale=None, stochastic_depth=0.2)
    config = json.loads(json.dumps(model.config))
    twin = VisionTransformer(**config)
    assert twin.config == config
    twin.load_state_dict(model.state_dict())


def test_building_on_the_meta_device_takes_no_memory_until_initialised() -> None:
    with torch.device("meta"):
        model = VisionTransformer(**SMALL)
    assert all(parameter.is_meta for parameter in model.parameters())
    model.initialize(seed=0)
    twin = VisionTransformer(**SMALL)
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), name
        assert torch.equal(parameter, twin.get_parameter(name))
    twin.initialize(seed=1)
    assert not torch.equal(model.pos_embed, twin.pos_embed)


def test_intermediate_layers() -> None:
    model = small(num_registers=2)
    images = torch.randn(2, 3, 12, 8)
    (last,) = model.get_intermediate_layers(images)
    torch.testing.assert_close(last, model.features(images).patches)
    shallow = VisionTransformer(**{**SMALL, "depth": 2}, num_registers=2)
    shallow.load_state_dict(model.state_dict(), strict=False)
    second, third = model.get_intermediate_layers(images, n=[1, 2], return_class_token=True)
    torch.testing.assert_close(second[0], shallow.features(images).patches)
    torch.testing.assert_close(second[1], shallow(images))
    torch.testing.assert_close(third[1], model(images))
    (maps,) = model.get_intermediate_layers(images, reshape=True)
    assert maps.shape == (2, 16, 3, 2)
    torch.testing.assert_close(maps[:, :, 2, 1], last[:, 5])
    (raw,) = model.get_intermediate_layers(images, norm=False)
    torch.testing.assert_close(raw, model.forward_features(images)["x_prenorm"][:, 3:])
    assert len(model.get_intermediate_layers(images, n=3)) == 3


def test_intermediate_layers_come_in_the_order_of_the_blocks() -> None:
    model, images = small(), torch.randn(2, 3, 12, 8)
    first, last = model.get_intermediate_layers(images, [2, 0])
    torch.testing.assert_close(last, model.features(images).patches)
    assert torch.equal(first, model.get_intermediate_layers(images, (0,))[0])


def test_intermediate_layers_take_dinov2s_positions() -> None:
    model, images = small(), torch.randn(2, 3, 12, 8)
    by_position = model.get_intermediate_layers(images, 2, True, True, False)
    by_name = model.get_intermediate_layers(images, n=2, reshape=True, return_class_token=True, norm=False)
    for (maps, cls), (other_maps, other_cls) in zip(by_position, by_name, strict=True):
        assert maps.shape == (2, 16, 3, 2)
        assert torch.equal(maps, other_maps) and torch.equal(cls, other_cls)


def test_blocks_after_the_last_wanted_do_not_run() -> None:
    model, ran = small(), []
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    model.get_intermediate_layers(torch.randn(1, 3, 12, 8), n=[1])
    assert ran == [0, 1]


@pytest.mark.parametrize("n", [0, 4, -1, [3], [-1], [], [1, 1]])
def test_intermediate_layers_that_do_not_exist(n: Any) -> None:
    with pytest.raises(DataError, match="3 blocks, 0 to 2"):
        small().get_intermediate_layers(torch.randn(1, 3, 12, 8), n=n)


@pytest.mark.parametrize("mask", [torch.zeros(1, 5, dtype=torch.bool), torch.zeros(1, 6)])
def test_wrong_masks(mask: Tensor) -> None:
    with pytest.raises(DataError, match=r"3 x 2 patches must be bool \[1, 6\]"):
        small().features(torch.randn(1, 3, 12, 8), mask)


def test_all_problems_of_an_architecture_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        VisionTransformer(**{**SMALL, "num_heads": 3, "image_size_px": 13, "ffn": "moe", "stochastic_depth": 1.0})
    for text in ("num_heads 3", "13 x 13", "mlp, swiglu", "stochastic_depth is 1.0"):
        assert text in str(caught.value)


def test_the_words_of_dinov2() -> None:
    model = VisionTransformer(
        width=16, depth=2, num_heads=2, patch_size_px=14, image_size_px=28, num_registers=3
    ).eval()
    reference.randomize(model)
    assert (model.embed_dim, model.num_features, model.patch_size) == (16, 16, 14)
    assert (model.num_register_tokens, model.n_blocks) == (3, 2)
    images, masks = torch.randn(2, 3, 28, 42), torch.rand(2, 6) < 0.5
    wanted = model.forward_features(images, masks)
    found = model(images, masks=masks, is_training=True)
    assert set(found) == set(wanted)
    assert torch.equal(found["x_norm_patchtokens"], wanted["x_norm_patchtokens"])
    torch.testing.assert_close(model(images, masks), wanted["x_norm_clstoken"])


def test_stored_positions_for_another_grid() -> None:
    model = VisionTransformer(width=16, depth=1, num_heads=2, patch_size_px=4, image_size_px=12)
    reference.randomize(model)
    positions = model.positions_for((2, 5))
    assert positions.shape == (1, 11, 16) and not positions.requires_grad
    assert torch.equal(positions[:, :1], model.pos_embed[:, :1])
    assert torch.equal(positions[:, 1:], model._positions((2, 5)))
    assert torch.equal(model.positions_for((3, 3)), model.pos_embed)


@pytest.mark.parametrize("n", [np.int64(2), np.array(2), [np.int64(0), 1], np.array([1, 0])])
def test_blocks_by_numbers_of_numpy(n: Any) -> None:
    assert block_indices(n, 2) == [0, 1]


@pytest.mark.parametrize("n", [1.0, None, [0.0], "1"])
def test_blocks_by_what_is_no_number(n: Any) -> None:
    with pytest.raises(DataError, match="Give how many of the last blocks"):
        block_indices(n, 2)


@pytest.mark.parametrize("every", [-1, 1.5, "2", None])
def test_activations_are_kept_by_whole_numbers(every: Any) -> None:
    model = VisionTransformer(width=16, depth=1, num_heads=2, patch_size_px=4, image_size_px=12)
    with pytest.raises(ConfigError, match="checkpoint_activations got"):
        model.checkpoint_activations(every)
