"""The chunked form with a fused kernel where logits are only summed: Sinkhorn-Knopp and the student's log-normalisers.

There a tile is written and read for the sake of one number a row or column; a kernel that keeps it in registers saves
that traffic. The gradients stay with matrix products over tiles: a kernel would have to compute a tile once for the
sums over prototypes and again for those over rows, where the library's products run at the machine's rate already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor

from franca.objective.chunked import Chunked
from franca.objective.logits import TINY, Logits
from franca.objective.strips import Strip


@dataclass(frozen=True)
class Fused(Chunked):
    """`Chunked` with sums by the Triton kernel; float64, which the kernel does not know, is summed as in `Chunked`."""

    name: ClassVar[str] = "triton"

    def strips(self, logits: Logits, num_rows: int) -> Iterable[Strip]:
        """One strip of all prototypes, which takes no memory."""
        if torch.float64 in (logits.rows.dtype, logits.weight.dtype):
            return super().strips(logits, num_rows)
        return [FusedStrip(logits)]


@dataclass(frozen=True)
class FusedStrip:
    """All prototypes; both sums are the same kernel with rows and prototypes in each other's place."""

    logits: Logits

    @property
    def columns(self) -> slice:
        return slice(0, len(self.logits.weight))

    def over_rows(self, u: Tensor) -> Tensor:
        rows, weight, row_scale, scale = self._factors()
        return self._log_sums(weight, rows, scale, row_scale, u)

    def over_columns(self, v: Tensor | None = None) -> Tensor:
        rows, weight, row_scale, scale = self._factors()
        bias = torch.zeros_like(scale) if v is None else v
        return self._log_sums(rows, weight, row_scale, scale, bias)

    def _factors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows and weight as they are, and what divides them: the temperature, and each prototype's length."""
        rows, weight = self.logits.rows, self.logits.weight
        row_scale = torch.full((len(rows),), 1 / self.logits.temperature, device=rows.device)
        lengths = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32)
        return rows, weight, row_scale, lengths.clamp_min(TINY).reciprocal()

    def _log_sums(self, x: Tensor, y: Tensor, x_scale: Tensor, y_scale: Tensor, bias: Tensor) -> Tensor:
        from franca.objective.triton_sums import log_sums  # Triton is not everywhere, and slow to import

        return log_sums(x, y, x_scale, y_scale, bias, dtype=self.logits.dtype)


def why_not(device: torch.device) -> str | None:
    """What keeps the kernel from running on ``device``, if anything."""
    if device.type != "cuda":
        return f"needs a CUDA device, not {device.type}"
    return None if find_spec("triton") else "needs the package triton, which comes with torch for CUDA on Linux"
