"""How class features of a global batch spread, from sums that add up over micro-batches and ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from franca.distributed.reduce import sum_over_ranks


@dataclass(frozen=True)
class FeatureSums:
    """Sums over class features z, and over their directions z / |z|; float64, since differences are what counts."""

    count: Tensor  # [2]: features, and those that have a direction
    directions: Tensor  # [D], sum of the directions
    products: Tensor  # [D, D], sum of z z^T

    @classmethod
    def of(cls, features: Tensor) -> FeatureSums:
        """Of features [n, D]."""
        z = (features.cpu() if features.device.type == "mps" else features).double()  # MPS knows no float64
        directions = F.normalize(z, dim=1)
        count = torch.stack([z.new_tensor(len(z)), directions.square().sum()])
        return cls(count, directions.sum(dim=0), z.T @ z)

    def __add__(self, other: FeatureSums) -> FeatureSums:
        return FeatureSums(self.count + other.count, self.directions + other.directions, self.products + other.products)

    def over_ranks(self) -> FeatureSums:
        """The sums of all ranks together, on every rank; every rank must ask."""
        return FeatureSums(*(sum_over_ranks(part) for part in (self.count, self.directions, self.products)))

    @property
    def spread(self) -> Tensor:
        """Standard deviation of a coordinate of the directions, times sqrt(D): 1 is isotropic, 0 is all the same."""
        number, squares = self.count
        variance: Tensor = squares / number - (self.directions / number).square().sum()
        return variance.clamp_min(0).sqrt()

    @property
    def effective_rank(self) -> Tensor:
        """Of all features, see `effective_rank`."""
        return effective_rank(self.products)


def effective_rank(products: Tensor) -> Tensor:
    """exp of the entropy of the singular values of features [n, D], which sum to one: between 1 and min(n, D).

    Args:
        products: [D, D] float64, the sum of z z^T over the features z.

    Source: Garrido et al. 2023, RankMe.
    """
    values = torch.linalg.eigvalsh(products).clamp_min(0).sqrt()
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.exp(-torch.xlogy(share, share).sum())
