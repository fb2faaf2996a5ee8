"""A learned factor per channel on a residual branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """Multiply every channel by its own factor.

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

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        return tokens * self.gamma
