from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from franca.layers.layer_scale import LayerScale, folding_is_faster, scaled_linear


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_scaled_linear_scales_the_output(dtype: torch.dtype) -> None:
    layer = nn.Linear(3, 5).to(dtype)
    gamma, x = torch.randn(5).to(dtype), torch.randn(7, 3).to(dtype)
    torch.testing.assert_close(scaled_linear(layer, x, gamma), layer(x) * gamma)
    assert torch.equal(scaled_linear(layer, x, None), layer(x))


@pytest.mark.parametrize("num_tokens", [2, 3, 4, 50])
@pytest.mark.parametrize("autocast", [False, True])
def test_inference_agrees_however_many_tokens(num_tokens: int, autocast: bool) -> None:
    layer, gamma, x = nn.Linear(3, 5), torch.randn(5), torch.randn(2, num_tokens, 3)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = scaled_linear(layer, x, gamma)
    tolerance = 2e-2 if autocast else 1e-6
    torch.testing.assert_close(found.float(), layer(x) * gamma, rtol=tolerance, atol=tolerance)


def test_weights_are_scaled_in_training_and_where_tokens_are_many() -> None:
    layer = nn.Linear(64, 8)
    few, many = torch.empty(2, 32, 64), torch.empty(2, 33, 64)
    assert folding_is_faster(layer, few)
    with torch.no_grad():
        assert not folding_is_faster(layer, few)
        assert folding_is_faster(layer, many)
    assert not folding_is_faster(layer.half(), many)


class Doubled(nn.Linear):
    """Stands for every layer that does more than its weights say: LoRA, quantised, noisy."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("training", [True, False])
def test_a_layer_of_another_type_is_called(training: bool) -> None:
    layer, gamma, x = Doubled(3, 5), torch.randn(5), torch.randn(50, 3)
    wrapped = nn.Sequential(layer)  # has no weights of its own
    with torch.set_grad_enabled(training):
        assert torch.equal(scaled_linear(layer, x, gamma), layer(x) * gamma)
        assert torch.equal(scaled_linear(wrapped, x, gamma), layer(x) * gamma)  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
def test_a_layer_with_a_hook_is_called(training: bool) -> None:
    layer, gamma, x, seen = nn.Linear(3, 5), torch.randn(5), torch.randn(50, 3), []
    layer.register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    with torch.set_grad_enabled(training):
        scaled_linear(layer, x, gamma)
    assert seen == [(50, 5)]


def test_a_layer_without_bias() -> None:
    layer, gamma, x = nn.Linear(3, 5, bias=False), torch.randn(5), torch.randn(50, 3)
    torch.testing.assert_close(scaled_linear(layer, x, gamma), layer(x) * gamma)


def test_sizes_are_found_on_the_meta_device() -> None:
    layer = nn.Linear(3, 5, device="meta")
    assert scaled_linear(layer, torch.empty(2, 3, device="meta"), torch.empty(5, device="meta")).shape == (2, 5)


def test_gradients_are_those_of_the_product() -> None:
    layer, gamma = nn.Linear(3, 5).double(), torch.randn(5, dtype=torch.float64, requires_grad=True)
    parameters = [layer.weight, layer.bias, gamma]
    x = torch.randn(7, 3, dtype=torch.float64)
    folded = torch.autograd.grad(scaled_linear(layer, x, gamma).sin().sum(), parameters)
    written_out = torch.autograd.grad((layer(x) * gamma).sin().sum(), parameters)
    torch.testing.assert_close(folded, written_out)


def test_fp16_autocast_keeps_small_factors() -> None:
    layer, gamma, x = nn.Linear(64, 8, bias=False), torch.full((8,), 1e-5), torch.randn(16, 64)
    layer.weight.data.mul_(0.02)
    with torch.autocast("cpu", torch.float16):
        result = scaled_linear(layer, x, gamma)
    torch.testing.assert_close(result.float(), layer(x) * 1e-5, rtol=1e-2, atol=1e-9)


def test_starts_at_its_first_value() -> None:
    layer = LayerScale(4, 0.3)
    layer.reset_parameters(torch.Generator())
    assert torch.equal(layer.gamma, torch.full((4,), 0.3))
