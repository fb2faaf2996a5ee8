"""A pre-norm transformer block."""

from __future__ import annotations

from torch import Tensor, nn

from franca.layers.attention import Attention
from franca.layers.layer_scale import LayerScale
from franca.layers.mlp import FEED_FORWARDS
from franca.layers.packing import Layout, leading
from franca.layers.stochastic_depth import Kept, add_branch

NORM_EPS = 1e-6


class Block(nn.Module):
    """x + ls1(attn(norm1(x))), then x + ls2(mlp(norm2(x))).

    Args:
        width: D.
        num_heads: attention heads; they divide D.
        ffn: a name of `FEED_FORWARDS`.
        ffn_ratio: hidden width of the feed-forward over D.
        layer_scale: its first value; None leaves layer scale out.
    """

    def __init__(self, width: int, num_heads: int, ffn: str, ffn_ratio: float, layer_scale: float | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, num_heads)
        self.ls1 = None if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = FEED_FORWARDS[ffn](width, ffn_ratio)
        self.ls2 = None if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, tokens: Tensor, layout: Layout, kept: tuple[Kept, Kept] | None = None) -> Tensor:
        """Map a table [T, D] to a table [T, D].

        Args:
            tokens: packed sequences.
            layout: of the table.
            kept: which sequences go through the attention and through the feed-forward; None takes all.
        """
        kept_attention, kept_ffn = kept or (None, None)
        tokens = add_branch(tokens, layout, self._attention, kept_attention)
        return add_branch(tokens, layout, self._feed_forward, kept_ffn)

    def forward_leading(self, tokens: Tensor, layout: Layout, count: int) -> Tensor:
        """The same for the first ``count`` tokens of every sequence alone, without computing the others."""
        update = self.attn(self.norm1(tokens), layout, _gamma(self.ls1), num_queries=count)
        first, first_layout = leading(tokens, layout, count)
        return add_branch(first + update, first_layout, self._feed_forward, None)

    def _attention(self, tokens: Tensor, layout: Layout) -> Tensor:
        update: Tensor = self.attn(self.norm1(tokens), layout, _gamma(self.ls1))
        return update

    def _feed_forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        update: Tensor = self.mlp(self.norm2(tokens), _gamma(self.ls2))
        return update


def _gamma(scale: LayerScale | None) -> Tensor | None:
    return None if scale is None else scale.gamma
