"""The same network with less memory, in half precision, compiled and exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from franca.errors import ConfigError
from franca.models.vision_transformer import VisionTransformer
from tests.models.test_vision_transformer import small, tensors

CALLS: dict[str, Callable[[VisionTransformer, Tensor], Any]] = {
    "forward": lambda model, images: model(images),
    "features": lambda model, images: tensors(model.features(images)),
    "forward_features": lambda model, images: model.forward_features(images),
    "get_intermediate_layers": lambda model, images: model.get_intermediate_layers(
        images, n=2, reshape=True, return_class_token=True
    ),
}


@pytest.mark.parametrize("every_blocks", [1, 2, 5])
@pytest.mark.parametrize("stochastic_depth", [0.0, 0.5])
def test_checkpointed_activations_give_the_same_gradients(every_blocks: int, stochastic_depth: float) -> None:
    model = small(stochastic_depth=stochastic_depth)
    crops = [torch.randn(6, 3, 12, 8), torch.randn(4, 3, 8, 8)]
    results = []
    for every in (0, every_blocks):
        model.checkpoint_activations(every)
        model.zero_grad()
        features = model.forward_crops(crops, stochastic_depth_seed=7)
        sum(one.patches.sin().sum() + one.cls.cos().sum() for one in features).backward()
        results.append([features[0].cls, *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize(("every_blocks", "calls"), [(0, 3), (1, 6), (2, 6)])
def test_checkpointed_blocks_run_again_for_the_gradient(every_blocks: int, calls: int) -> None:
    model, ran = small(), []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda *_: ran.append(1))
    model.checkpoint_activations(every_blocks)
    names = set(model.state_dict())
    model(torch.randn(1, 3, 12, 8)).sum().backward()
    assert len(ran) == calls
    assert set(model.state_dict()) == names
    ran.clear()
    with torch.no_grad():
        model(torch.randn(1, 3, 12, 8))
    assert len(ran) == 3


def test_intermediate_layers_can_be_checkpointed() -> None:
    model, images = small(), torch.randn(2, 3, 12, 8)
    gradients = []
    for every in (0, 2):
        model.checkpoint_activations(every)
        first, last = model.get_intermediate_layers(images, [0, 2])
        gradients.append(torch.autograd.grad((first * last).sum(), model.patch_embed.proj.weight)[0])
    assert torch.equal(*gradients)


def test_a_negative_number_of_checkpointed_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match="got -1"):
        small().checkpoint_activations(-1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_close_to_fp32(dtype: torch.dtype, autocast: bool) -> None:
    model = small(num_registers=2, ffn="swiglu").eval()
    images = torch.rand(2, 3, 15, 18)
    mask = torch.rand(2, 20) < 0.3
    with torch.inference_mode():
        expected = model.features(images, mask)
        with torch.autocast("cpu", dtype, enabled=autocast):
            half = model if autocast else model.to(dtype)
            found = half.features(images if autocast else images.to(dtype), mask)
    assert found.grid == (4, 5)
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        assert one.dtype == (torch.float32 if autocast else dtype)
        assert (one - other).abs().max() / other.abs().max() < 0.1


def compiled_equals_eager(call: str, backend: str, gradients: bool) -> None:
    model = small(num_registers=2).eval()
    torch._dynamo.reset()
    # Torch cannot yet derive an antialiased resize to a size left open, which a second size would make it.
    compiled = torch.compile(CALLS[call], fullgraph=True, backend=backend, dynamic=False if gradients else None)
    with torch.set_grad_enabled(gradients):
        for images in (torch.randn(2, 3, 12, 8), torch.randn(2, 3, 18, 15)):
            expected = CALLS[call](model, images)
            torch.testing.assert_close(compiled(model, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("call", CALLS)
def test_compiles_without_graph_breaks(call: str) -> None:
    compiled_equals_eager(call, "eager", gradients=False)


@pytest.mark.slow
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_compiled_code_computes_the_same(call: str, gradients: bool) -> None:
    compiled_equals_eager(call, "inductor", gradients)


@pytest.mark.parametrize("size", [(12, 8), (18, 15)])
@pytest.mark.parametrize("gradients", [False, True])
def test_exports_with_any_number_of_images(size: tuple[int, int], gradients: bool) -> None:
    model = small(num_registers=2, position_interpolation="offset").eval()
    with torch.set_grad_enabled(gradients):
        exported = torch.export.export(
            model, (torch.randn(2, 3, *size),), dynamic_shapes=({0: torch.export.Dim("images")},)
        ).module()
        assert len(model._position_cache) == 0
        for number in (1, 2, 300):
            images = torch.randn(number, 3, *size)
            torch.testing.assert_close(exported(images), model(images), rtol=1e-4, atol=1e-4)
