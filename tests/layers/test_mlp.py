from __future__ import annotations

import math

import pytest
import torch

from franca.layers.mlp import Mlp, SwiGLU, swiglu_hidden


def test_mlp_is_linear_gelu_linear() -> None:
    layer = Mlp(4, 4.0)
    x = torch.randn(7, 4)
    hidden = x @ layer.fc1.weight.T + layer.fc1.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))  # exact GELU, not the tanh approximation
    torch.testing.assert_close(layer(x), hidden @ layer.fc2.weight.T + layer.fc2.bias)


def test_swiglu_gates_the_second_half_by_the_first() -> None:
    layer = SwiGLU(6, 4.0)
    x = torch.randn(7, 6)
    hidden = x @ layer.w12.weight.T + layer.w12.bias
    gate, content = hidden[:, :16], hidden[:, 16:]
    torch.testing.assert_close(layer(x), (gate * torch.sigmoid(gate) * content) @ layer.w3.weight.T + layer.w3.bias)


@pytest.mark.parametrize(("width", "hidden"), [(384, 1024), (768, 2048), (1024, 2736), (1536, 4096), (6, 16)])
def test_swiglu_hidden_is_two_thirds_rounded_up(width: int, hidden: int) -> None:
    assert swiglu_hidden(width, 4.0) == hidden
