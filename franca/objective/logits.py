"""Logits of rows over prototypes, as a matrix that need not exist: any tile of it can be computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-12  # a shorter weight has no direction
EVERYTHING = slice(None)


def sum_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of softmax and sums: fp32, or float64 for a float64 input."""
    return torch.promote_types(tensor.dtype, torch.float32)


def product_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of matrix products: autocast's where it is on, that of sums elsewhere."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else sum_dtype(tensor)


def unit(weight: Tensor) -> Tensor:
    """Rows of unit length, in the dtype of sums."""
    return F.normalize(weight.to(sum_dtype(weight)), dim=1, eps=TINY)


def unit_backward(weight: Tensor, gradient: Tensor) -> Tensor:
    """From the gradient of ``unit(weight)`` to that of ``weight``: its part along a row does not turn the row."""
    directions = unit(weight)
    along = torch.einsum("kb,kb->k", directions, gradient)[:, None]  # [K, 1]
    length = torch.linalg.vector_norm(weight.to(gradient.dtype), dim=1, keepdim=True)
    return torch.addcmul(gradient, along, directions, value=-1).div_(length.clamp_min(TINY))


@dataclass(frozen=True)
class Logits:
    """s_ik = rows_i . d_k / temperature, with d_k the unit vector along prototype k."""

    rows: Tensor  # [R, b]
    weight: Tensor  # [K, b]
    temperature: float
    dtype: torch.dtype  # of the factors; products come out in the dtype of sums

    def directions(self, columns: slice) -> Tensor:
        """Some of the d_k, [c, b], in the dtype of sums."""
        return unit(self.weight[columns])

    def tile(self, rows: slice, directions: Tensor) -> Tensor:
        """Logits of some rows over some directions, [r, c], in the dtype of sums."""
        with torch.autocast(self.rows.device.type, enabled=False):
            product = F.linear(self.rows[rows].to(self.dtype), directions.to(self.dtype))
            return product.to(directions.dtype).div_(self.temperature)

    def matrix(self) -> Tensor:
        """All of them, [R, K]."""
        return self.tile(EVERYTHING, self.directions(EVERYTHING))
