"""The dense form: logits are held, and autograd finds the gradient. The reference for every other form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from franca.objective.logits import Logits, product_dtype, sum_dtype
from franca.objective.sinkhorn import balance
from franca.objective.strips import HeldStrip
from franca.objective.targets import Pairs, Targets


@dataclass(frozen=True)
class Dense:
    """Holds [rows, K] matrices: the fastest form where they are small."""

    def __str__(self) -> str:
        return "dense"

    def logits_bytes(self, dense_bytes: int) -> int:
        """All of them."""
        return dense_bytes

    def waiting_bytes(self, weight_bytes: int) -> int:
        """None: autograd finds a gradient when it adds it."""
        return 0

    def assign(self, bottleneck: Tensor, weight: Tensor, *, temperature: float, num_iterations: int) -> Targets:
        """Sinkhorn-Knopp on logits that are computed once."""
        logits = Logits(bottleneck, weight, temperature, sum_dtype(bottleneck)).matrix()
        u = logits.new_zeros(len(logits))
        v, z = balance([HeldStrip(logits)], u, num_prototypes=len(weight), num_iterations=num_iterations)
        return Targets(bottleneck, weight, v, z, temperature)

    def cross_entropy(
        self, bottleneck: Tensor, weight: Tensor, targets: Targets, pairs: Pairs, *, temperature: float
    ) -> Tensor:
        """Targets T = A q that one student row meets are added first and multiplied once."""
        logits = Logits(bottleneck, weight, temperature, product_dtype(bottleneck)).matrix()  # [R, K]
        with torch.no_grad():
            target = pairs.to_student(targets.assignments(), len(logits)).to(logits.dtype)  # [R, K]
            row_weight = pairs.per_student(len(logits), logits.dtype)  # [R]
        return (row_weight * torch.logsumexp(logits, dim=1)).sum() - (target * logits).sum()
