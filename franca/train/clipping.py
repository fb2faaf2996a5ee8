"""Gradient clipping, per part of the network or over all of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from franca.objective.network import Network


@dataclass(frozen=True)
class Norms:
    """Gradient norms before clipping: of every part, and of all together."""

    parts: dict[str, Tensor]
    total: Tensor


class Clip:
    """Scale gradients so that their norm stays under a limit.

    Args:
        max_norm: The limit; 0 measures norms and clips nothing.
        per_part: Clip backbone, DINO head and iBOT head each by its own norm, as DINOv2 and Franca do; False scales
            all by the norm of all.
    """

    def __init__(self, max_norm: float, *, per_part: bool = True) -> None:
        self.max_norm = max_norm or float("inf")
        self.per_part = per_part

    def __call__(self, network: Network) -> Norms:
        """Clip in place; returns the norms from before."""
        parts = {name: _gradients(part) for name, part in network.parts().items()}
        norms = {name: nn.utils.get_total_norm(gradients) for name, gradients in parts.items()}
        total = torch.linalg.vector_norm(torch.stack(list(norms.values())))
        for name, gradients in parts.items():
            _scale(gradients, norms[name] if self.per_part else total, self.max_norm)
        return Norms(norms, total)


def _gradients(part: nn.Module) -> list[Tensor]:
    return [p.grad for p in part.parameters() if p.grad is not None]


def _scale(gradients: list[Tensor], norm: Tensor, max_norm: float) -> None:
    factor = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
