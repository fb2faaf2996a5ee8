"""Gradient clipping, per part of the network or over all of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from franca.distributed.shards import whole
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
        norms = {name: whole(nn.utils.get_total_norm(_gradients(part))) for name, part in network.parts().items()}
        total = torch.linalg.vector_norm(torch.stack(list(norms.values())))
        if self.max_norm < float("inf"):
            for name, part in network.parts().items():
                norm = norms[name] if self.per_part else total
                nn.utils.clip_grads_with_norm_(part.parameters(), self.max_norm, norm)
        return Norms(norms, total)


def _gradients(part: nn.Module) -> list[Tensor]:
    return [p.grad for p in part.parameters() if p.grad is not None]
