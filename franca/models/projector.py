"""The linear map that takes position out of patch tokens: an exact orthogonal projector.

With an orthonormal basis U [k, D] of the directions to remove, a token z becomes ``z - U^T U z``. The map
``P = I - U^T U`` is symmetric, gives the same when applied twice, and has rank D - k. Only U is stored: two products
with it are all that a token costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPAN_TOLERANCE = 1e-6  # of a direction's length: what rounding leaves of one that lies in the span of others


@dataclass(frozen=True, eq=False)
class Projector:
    """Removes a subspace from tokens.

    Args:
        basis: [k, D], float64, orthonormal rows that span what is removed; k may be 0.
    """

    basis: Tensor

    @classmethod
    def removing(cls, directions: Tensor) -> Projector:
        """The projector off the span of ``directions`` [n, D], which need be neither orthogonal nor independent."""
        return cls(directions.new_zeros(0, directions.shape[1], dtype=torch.float64)).further(directions)

    def further(self, directions: Tensor) -> Projector:
        """The projector that removes ``directions`` [n, D] as well."""
        return Projector(orthonormalise(directions, against=self.basis))

    @property
    def width(self) -> int:
        """D."""
        return self.basis.shape[1]

    @property
    def rank(self) -> int:
        """Dimensions that are left."""
        return self.width - len(self.basis)

    @property
    def matrix(self) -> Tensor:
        """P [D, D], float64; symmetric, so ``tokens @ P`` and ``P @ token`` are the same map."""
        return torch.eye(self.width, dtype=torch.float64, device=self.basis.device) - self.basis.T @ self.basis

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens [..., D] of any type and device without the removed part, of the same type."""
        return remove(tokens, self.basis.to(tokens.device, torch.float32 if tokens.itemsize < 8 else torch.float64))

    def fold(self, weight: Tensor) -> Tensor:
        """The weight [K, D] of a linear layer that gives on raw tokens what ``weight`` gives on projected ones.

        Exact, because ``W (P z) = (W P) z``; the layer keeps its bias.
        """
        return (weight.double() @ self.matrix.to(weight.device)).to(weight.dtype)


def remove(tokens: Tensor, basis: Tensor) -> Tensor:
    """Tokens [..., D] without their part in the span of the orthonormal rows of ``basis`` [k, D].

    Computed in the type of the basis, autocast or not: a rounded product would leave some of the part behind.
    """
    if torch.is_autocast_enabled(tokens.device.type):
        with torch.autocast(tokens.device.type, enabled=False):
            return remove(tokens, basis)
    exact = tokens.to(basis.dtype)
    return (exact - (exact @ basis.T) @ basis).to(tokens.dtype)


def orthonormalise(directions: Tensor, against: Tensor) -> Tensor:
    """An orthonormal basis [k + m, D] that begins with ``against`` and spans ``directions`` too.

    Gram-Schmidt, each row twice, after which rounding is all that is left of earlier rows. A direction that lies in the
    span of those before it adds nothing.

    Args:
        directions: [n, D], any type.
        against: [k, D], float64, orthonormal rows.
    """
    rows = list(against)
    for direction in directions.double():
        row = direction
        for _ in range(2):
            for other in rows:
                row = row - (row @ other) * other
        if row.norm() > SPAN_TOLERANCE * direction.norm():
            rows.append(row / row.norm())
    return torch.stack(rows) if rows else against
