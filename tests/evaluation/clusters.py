"""Feature tables of overlapping Gaussian classes."""

from __future__ import annotations

import torch

from franca.features.table import FeatureTable


def clusters(
    n: int, *, seed: int, width: int = 16, num_classes: int = 7, layers: int = 4, spread: float = 1.5
) -> FeatureTable:
    """n images of ``num_classes`` classes around the same centres for every seed."""
    centres = torch.randn(num_classes, width, generator=torch.Generator().manual_seed(123))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (n,), generator=generator)
    noise = torch.randn(n, layers + 1, width, generator=generator)
    features = 0.3 + 2 * centres[labels, None] + 2 * spread * noise
    names = tuple(f"class {index}" for index in range(num_classes))
    keys = tuple(f"image {index}" for index in range(n))
    return FeatureTable(features[:, :layers], features[:, layers], labels, keys, names)
