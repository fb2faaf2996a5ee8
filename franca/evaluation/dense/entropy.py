"""How spread out over the image the patches of a cluster are."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpatialEntropy:
    """Entropy of the place of a patch, given its cluster."""

    bits: float  # mean over patches: large clusters count more
    share: float  # of log2(h * w), the entropy of a place drawn evenly; 1 = clusters say nothing about place
    per_cluster: Tensor  # [K] float64, bits; NaN for an empty cluster


def spatial_entropy(assigned: Tensor, num_clusters: int) -> SpatialEntropy:
    """Entropy of the grid cell of a patch within each cluster.

    With n patches a cluster cannot have more than log2(n) bits, so compare with `shuffled` clusters of the same sizes.

    Args:
        assigned: [n, h * w] int64, cluster of each patch of n images.
        num_clusters: K.

    Source: section 2.3 of the paper shows the histogram of ``per_cluster`` for 65,000 clusters.
    """
    cells = assigned.shape[1]
    places = torch.arange(cells, device=assigned.device).expand_as(assigned)
    counts = torch.bincount((assigned * cells + places).flatten(), minlength=num_clusters * cells)
    counts = counts.view(num_clusters, cells).double()
    sizes = counts.sum(1)
    shares = counts / sizes[:, None]
    per_cluster = torch.special.entr(shares).sum(1) / torch.log(torch.tensor(2.0, dtype=torch.float64))
    bits = float((per_cluster.nan_to_num() * sizes).sum() / sizes.sum())
    return SpatialEntropy(bits, bits / log2(cells) if cells > 1 else 1.0, per_cluster)


def shuffled(assigned: Tensor, seed: int) -> Tensor:
    """The same clusters with their patches put anywhere: what entropy would be if clusters knew no place."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(assigned.numel(), generator=generator).to(assigned.device)
    return assigned.flatten()[order].view_as(assigned)
