from __future__ import annotations

import pytest
import torch
from torch import nn

from franca.layers.layer_scale import LayerScale, scaled_linear


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_scaled_linear_scales_the_output(dtype: torch.dtype) -> None:
    layer = nn.Linear(3, 5).to(dtype)
    gamma, x = torch.randn(5).to(dtype), torch.randn(7, 3).to(dtype)
    torch.testing.assert_close(scaled_linear(layer, x, gamma), layer(x) * gamma)
    assert torch.equal(scaled_linear(layer, x, None), layer(x))


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
