"""Maps of numbers as colours from black over red to yellow."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

COLOURS = "inferno"
QUANTILE = 0.99  # of a map; single patches beyond it take the last colour


def heat(values: Tensor) -> Tensor:
    """A map of numbers >= 0 [h, w] as colours [h, w, 3] uint8, from 0 to its 99th percentile."""
    highest = float(np.quantile(values.numpy(), QUANTILE))
    share = (values / max(highest, torch.finfo(torch.float32).tiny)).clamp(0, 1)
    return torch.from_numpy(colormaps[COLOURS](share.numpy(), bytes=True)[..., :3])
