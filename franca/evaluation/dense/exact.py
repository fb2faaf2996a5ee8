"""Where sums in double precision are done."""

from __future__ import annotations

import torch


def exact_device(device: torch.device | str) -> torch.device:
    """The device itself, or the CPU for one that has no float64."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device
