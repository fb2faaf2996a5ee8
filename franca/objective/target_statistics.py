"""What assignments of one level look like, from sums that add up over rows, micro-batches and ranks.

The assignments q [R, K] never exist: they are gone through tile by tile, with R + K numbers kept beside a tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.distributed.reduce import sum_over_ranks
from franca.objective.targets import Targets
from franca.objective.tiles import Cut, runs

CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class TargetSums:
    """Sums over rows of targets."""

    num_rows: Tensor  # []
    entropy: Tensor  # [], sum_i H(q_i)
    mass: Tensor  # [K], sum_i q_ik
    wins: Tensor  # [K], rows whose largest share k has

    @classmethod
    def of(cls, targets: Targets, *, chunk_bytes: int = CHUNK_BYTES) -> TargetSums:
        """Go through the assignments once.

        Args:
            targets: Of R rows, which may be 0; good until the teacher moves.
            chunk_bytes: What a tile with its copies may take.
        """
        logits, num_rows = targets.logits, len(targets.bottleneck)
        num_prototypes, width = targets.weight.shape
        cut = Cut.of(num_rows, num_prototypes, width, chunk_bytes=chunk_bytes, itemsize=logits.dtype.itemsize)
        entropy, mass = (targets.potentials.new_zeros(size) for size in (num_rows, num_prototypes))
        largest = torch.full_like(entropy, -math.inf)
        winner = torch.zeros_like(entropy, dtype=torch.int64)
        for columns in runs(num_prototypes, cut.columns):
            directions = logits.directions(columns)
            for rows in runs(num_rows, cut.rows):
                log_q = logits.tile(rows, directions).add_(targets.potentials[columns])
                log_q.sub_(targets.normalizers[rows, None])  # [r, c]
                value, place = log_q.max(dim=1)
                winner[rows] = torch.where(value > largest[rows], place + columns.start, winner[rows])
                largest[rows] = largest[rows].maximum(value)
                q = log_q.exp()
                mass[columns] += q.sum(dim=0)
                entropy[rows] -= q.mul_(log_q).sum(dim=1)
        wins = torch.bincount(winner, minlength=num_prototypes).to(mass.dtype)
        return cls(mass.new_tensor(num_rows), entropy.sum(), mass, wins)

    def __add__(self, other: TargetSums) -> TargetSums:
        return TargetSums(
            self.num_rows + other.num_rows,
            self.entropy + other.entropy,
            self.mass + other.mass,
            self.wins + other.wins,
        )

    def over_ranks(self) -> TargetSums:
        """The sums of all ranks together, on every rank; every rank must ask."""
        num_prototypes = len(self.mass)
        packed = torch.cat([self.num_rows[None], self.entropy[None], self.mass, self.wins])
        num_rows, entropy, mass, wins = sum_over_ranks(packed).split([1, 1, num_prototypes, num_prototypes])
        return TargetSums(num_rows[0], entropy[0], mass, wins)

    @property
    def mean_entropy(self) -> Tensor:
        """Mean entropy of a row's assignment over ln K: 0 is one prototype a row, 1 is the same share for each."""
        return self.entropy / self.num_rows / math.log(len(self.mass))

    @property
    def used(self) -> Tensor:
        """Prototypes that have the largest share in a row at least, over those that could: min(K, rows)."""
        return (self.wins > 0).sum() / self.num_rows.clamp(max=len(self.mass))

    @property
    def perplexity(self) -> Tensor:
        """Perplexity of the mean assignment over K: 1 where all prototypes get the same mass in all."""
        mean = self.mass / self.num_rows
        return torch.exp(-torch.xlogy(mean, mean).sum()) / len(self.mass)
