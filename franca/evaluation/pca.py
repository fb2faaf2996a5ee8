"""Principal components of embeddings: what a Matryoshka prefix of the same width has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 8192  # taken at a time


@dataclass(frozen=True)
class Pca:
    """Turns embeddings so that their first d columns keep as much variance as any d directions can."""

    mean: Tensor  # [D]
    components: Tensor  # [D, D], one a column, by falling variance
    variances: Tensor  # [D], that of each

    @classmethod
    def of(cls, embeddings: Tensor, device: torch.device | str = "cpu") -> Pca:
        """Fitted to ``embeddings`` [n, D], of any dtype and anywhere; a block of rows at a time is in work."""
        mean = sum(rows.to(device).float().sum(0).cpu().double() for rows in embeddings.split(ROWS)) / len(embeddings)
        assert isinstance(mean, Tensor)
        centre = mean.float().to(device)
        covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
        for rows in embeddings.split(ROWS):
            centred = rows.to(device).float() - centre
            covariance += (centred.T @ centred).cpu()
        variances, components = (part.flip(-1) for part in torch.linalg.eigh(covariance / len(embeddings)))  # rising
        # A component has no sign of its own; this one does not change with rounding.
        largest = components.gather(0, components.abs().argmax(0, keepdim=True))
        return cls(centre, (components * largest.sign()).float().to(device), variances.float().to(device))

    def __call__(self, embeddings: Tensor, width: int | None = None) -> Tensor:
        """The first ``width`` coordinates [B, width] of embeddings [B, D] on this PCA's device; all unless told."""
        return (embeddings - self.mean) @ self.components[:, :width]
