from __future__ import annotations

import pytest
import torch
from torch import Tensor

from franca.layers.block import Block
from franca.layers.packing import leading, pack


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight + bias


@pytest.mark.parametrize("layer_scale", [None, 0.3])
@pytest.mark.parametrize("ffn", ["mlp", "swiglu"])
def test_block_is_two_scaled_residual_branches(ffn: str, layer_scale: float | None) -> None:
    block = Block(8, 2, ffn, 4.0, layer_scale)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, layout = pack([torch.randn(3, 5, 8), torch.randn(2, 2, 8)])
    first = 1 if block.ls1 is None else block.ls1.gamma
    second = 1 if block.ls2 is None else block.ls2.gamma
    y = x + first * block.attn(norm(x, block.norm1.weight, block.norm1.bias), layout)
    y = y + second * block.mlp(norm(y, block.norm2.weight, block.norm2.bias))
    torch.testing.assert_close(block(x, layout), y, rtol=1e-4, atol=1e-4)
    assert any("ls1" in name for name, _ in block.named_parameters()) == (layer_scale is not None)


def test_the_residual_stream_stays_fp32_under_autocast() -> None:
    block = Block(8, 2, "mlp", 4.0, 0.3)
    torch.nn.init.ones_(block.ls1.gamma)
    torch.nn.init.ones_(block.ls2.gamma)
    x, layout = pack([torch.randn(3, 5, 8)])
    with torch.autocast("cpu", torch.bfloat16):
        assert block(x, layout).dtype == torch.float32


@pytest.mark.parametrize("layer_scale", [None, 0.3])
@pytest.mark.parametrize("count", [1, 3])
def test_leading_tokens_are_those_of_the_whole_block(layer_scale: float | None, count: int) -> None:
    block = Block(8, 2, "mlp", 4.0, layer_scale)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, layout = pack([torch.randn(3, 5, 8), torch.randn(2, 4, 8)])
    expected, _ = leading(block(x, layout), layout, count)
    torch.testing.assert_close(block.forward_leading(x, layout, count), expected, rtol=1e-5, atol=1e-5)
