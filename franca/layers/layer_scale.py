"""A learned factor per channel on a residual branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from franca.layers.watched import is_traced, may_read_weights


class LayerScale(nn.Module):
    """The factors that the last linear layer of a branch is scaled by; see `scaled_linear`.

    Args:
        width: D.
        initial: first value of every factor; small, so that a block starts close to the identity.

    Source: Touvron et al., "Going deeper with Image Transformers", section 2.
    """

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.gamma = nn.Parameter(torch.empty(width))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Set every factor to its first value."""
        nn.init.constant_(self.gamma, self.initial)


def scaled_linear(layer: nn.Linear, tokens: Tensor, gamma: Tensor | None) -> Tensor:
    """gamma * layer(tokens), the factors multiplied into the weights where that is faster.

    Args:
        layer: linear, D' to D; one with hooks, or of another type, is called as it is.
        tokens: [..., D'].
        gamma: [D], or None for no scale.

    Returns:
        [..., D].
    """
    if gamma is None:
        output: Tensor = layer(tokens)
        return output
    if not may_read_weights(layer, nn.Linear) or not folding_is_faster(layer, tokens):
        scaled: Tensor = layer(tokens) * gamma
        return scaled
    return F.linear(tokens, gamma[:, None] * layer.weight, None if layer.bias is None else gamma * layer.bias)


def folding_is_faster(layer: nn.Linear, tokens: Tensor) -> bool:
    """Whether to scale the weights, [D, D'] numbers, instead of the output, [T, D].

    It makes a whole training pass a sixth faster on the CPU (width 128, bf16), and inference where tokens are many. A
    compiled pass without gradients scales the output for nothing, on the way to the sum, and must not look at the
    number of tokens, which may be left open. In fp16 a weight times 1e-5 is next to zero.
    """
    if is_traced() or _compute_dtype(layer.weight) == torch.float16:
        return False
    if torch.is_grad_enabled():
        return True
    return not torch.compiler.is_compiling() and tokens.shape[:-1].numel() > layer.in_features


def _compute_dtype(weight: Tensor) -> torch.dtype:
    """The type in which a matrix product with ``weight`` runs."""
    device = weight.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)  # the meta device has none
    return torch.get_autocast_dtype(device) if autocast else weight.dtype
