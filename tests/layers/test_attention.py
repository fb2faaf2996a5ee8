from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from franca.errors import ConfigError
from franca.layers import attention
from franca.layers.attention import Attention, attend_plain, attend_sdpa, plain_is_faster, set_attention
from franca.layers.packing import pack, unpack


def by_loops(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for one head, one query at a time."""
    rows = []
    for one in query:
        scores = torch.stack([one.dot(other) / math.sqrt(len(one)) for other in key])
        weights = scores.exp() / scores.exp().sum()
        rows.append(sum(weight * row for weight, row in zip(weights, value, strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize("attend", [attend_plain, attend_sdpa])
def test_kernels_are_softmax_attention(attend) -> None:
    query, key, value = torch.randn(3, 2, 3, 5, 4, dtype=torch.float64)  # [n=2, heads=3, L=5, d=4] each
    result = attend(query, key, value)
    for n in range(2):
        for head in range(3):
            expected = by_loops(query[n, head], key[n, head], value[n, head])
            torch.testing.assert_close(result[n, head], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_have_equal_gradients(dtype: torch.dtype) -> None:
    layer, tokens = Attention(8, 2).to(dtype), torch.randn(4 * 5, 8, dtype=dtype)
    layout = pack([torch.empty(4, 5, 8)])[1]
    gradients = []
    for kernel in ("sdpa", "plain", "auto"):
        set_attention(layer, kernel)
        layer.zero_grad()
        layer(tokens, layout).square().sum().backward()
        gradients.append(layer.qkv.weight.grad.clone())
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=tolerance, atol=tolerance)


def test_tokens_look_only_at_their_own_sequence() -> None:
    layer = Attention(8, 2)
    tokens, layout = pack([torch.randn(2, 3, 8), torch.randn(2, 4, 8)])
    changed = tokens.clone()
    changed[6:10] += 1  # the first sequence of the second group
    before, after = layer(tokens, layout), layer(changed, layout)
    assert torch.equal(before[:6], after[:6])
    assert torch.allclose(before[10:], after[10:], atol=1e-6)
    assert not torch.allclose(before[6:10], after[6:10], atol=1e-3)


def test_each_head_reads_its_own_channels() -> None:
    layer = Attention(4, 2)
    tokens, layout = pack([torch.randn(1, 3, 4)])
    query, key, value = layer.qkv(tokens).chunk(3, dim=-1)
    heads = [by_loops(query[:, part], key[:, part], value[:, part]) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(layer(tokens, layout), layer.proj(torch.cat(heads, dim=1)))
    assert unpack(tokens, layout)[0].shape == (1, 3, 4)


def test_auto_writes_short_bf16_training_on_the_cpu_out() -> None:
    short = torch.zeros(1, 1, 10, 4, dtype=torch.bfloat16, requires_grad=True)
    long = torch.zeros(1, 1, attention.LONGEST_PLAIN + 1, 4, dtype=torch.bfloat16, requires_grad=True)
    assert plain_is_faster(short)
    assert not plain_is_faster(long)
    assert not plain_is_faster(short.float())
    assert not plain_is_faster(short.detach())


def test_unknown_kernel_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'flash'.*auto, sdpa, plain"):
        set_attention(Attention(4, 2), "flash")
