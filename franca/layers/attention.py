"""Multi-head self-attention over packed sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from franca.errors import ConfigError
from franca.layers.layer_scale import scaled_linear
from franca.layers.packing import Layout, pack, unpack

KERNELS = ("auto", "sdpa", "plain")

# On the CPU the bf16 backward of the fused kernel is 5 to 11 times slower than two batched matrix products at 10 to 65
# tokens and still twice as slow at 257; from about 800 tokens on the [L, L] scores cost more than they save.
LONGEST_PLAIN = 512


def attend_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v by torch's fused kernels; tensors are [n, heads, L, d]."""
    return F.scaled_dot_product_attention(query, key, value)


def attend_plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same, written out, which holds the [n, heads, L, L] scores."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)  # [n, heads, L, L]
    mixed: Tensor = scores.softmax(dim=-1) @ value
    return mixed


def plain_is_faster(query: Tensor) -> bool:
    """Whether to write attention out: bf16 training on the CPU with short sequences."""
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return False
    return query.requires_grad and query.shape[-2] <= LONGEST_PLAIN


class Attention(nn.Module):
    """Every token looks at the tokens of its own sequence.

    Args:
        width: D, a multiple of ``num_heads``.
        num_heads: attention heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.kernel = "auto"
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, tokens: Tensor, layout: Layout, gamma: Tensor | None = None, *, num_queries: int | None = None
    ) -> Tensor:
        """Map a table [T, D] to a table [T, D], scaled by ``gamma`` [D] where it is given.

        With ``num_queries`` only that many tokens, the first of every sequence, look at the others, and are returned.
        """
        groups = unpack(self.qkv(tokens), layout)  # [T, 3 D] -> one [n, L, 3 D] per group
        mixed, _ = pack([self._attend(group, num_queries) for group in groups])  # [T, D]
        return scaled_linear(self.proj, mixed, gamma)

    def _attend(self, qkv: Tensor, num_queries: int | None = None) -> Tensor:
        by_head = qkv.unflatten(-1, (3, self.num_heads, -1))  # [n, L, 3 D] -> [n, L, 3, heads, d]
        query, key, value = by_head.permute(2, 0, 3, 1, 4).unbind(0)  # each [n, heads, L, d]
        query = query[:, :, :num_queries]
        plain = self.kernel == "plain" or (self.kernel == "auto" and plain_is_faster(query))
        attend = attend_plain if plain else attend_sdpa
        return attend(query, key, value).transpose(1, 2).flatten(2)  # [n, L, D]


def set_attention(module: nn.Module, kernel: str) -> None:
    """Choose the attention kernel of every `Attention` inside ``module``.

    Args:
        module: a backbone, or any part of one.
        kernel: ``sdpa``, ``plain``, or ``auto``, which takes the faster one for device, precision and length.

    Raises:
        ConfigError: for another kernel.
    """
    if kernel not in KERNELS:
        raise ConfigError(f"Unknown attention kernel {kernel!r}. Choose one of: {', '.join(KERNELS)}.")
    for part in module.modules():
        if isinstance(part, Attention):
            part.kernel = kernel
