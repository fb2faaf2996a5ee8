"""What one optimisation step sees. Data makes it, the objective reads it; neither knows the other.

Shape legend, used everywhere: B images, V crops per image, N patches of a global crop, M masked patches,
R registers, D width, L levels, K prototypes, H W pixels, h w patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Skipped:
    """A sample that could not be used, and why: ``reason`` is a short slug such as ``truncated``."""

    key: str
    reason: str

    @property
    def place(self) -> str:
        """The shard it lies in, or the first folder of its path; empty where there is neither."""
        return self.key.rpartition("/")[0].partition("/")[0]


@dataclass(frozen=True)
class Batch:
    """One micro-batch: B consecutive positions of the sample plan.

    Crops are view-major: the first B global crops are view 0 of every image, the next B are view 1.
    """

    global_crops: Tensor  # [2*B, 3, H, W] float32, normalised
    local_crops: Tensor  # [V*B, 3, H', W'] float32, normalised; V may be 0
    masks: Tensor  # [2*B, N] bool, True = hidden from the student
    masked_rows: Tensor  # [M] int64, where the flattened masks are True; found on the CPU, a GPU would have to wait
    positions: Tensor  # [B] int64, positions in the endless sample plan
    samples: Tensor  # [B] int64, index of the sample in its source that was used at each position
    global_batch: int  # images in the whole global batch: what the losses are divided by
    seed: int = 0  # of what is random in the student's forward; a function of the run's seed and the first position
    skipped: tuple[Skipped, ...] = ()
    keys: tuple[str, ...] = ()  # B names of the samples within their source

    @property
    def num_images(self) -> int:
        """B, the images in this micro-batch."""
        return self.positions.shape[0]

    def to(self, device: torch.device) -> Batch:
        """The same batch with every tensor on ``device``."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in pinned memory; the data loader looks for this name."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {
            field.name: change(value)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **changed)
