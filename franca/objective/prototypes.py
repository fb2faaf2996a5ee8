"""Prototypes of one level: what a bottleneck feature is compared with.

Nobody else touches the prototypes' weight. The teacher's prototypes `assign` rows and hand out `Targets`, which are
opaque to everyone but the student's prototypes, whose forward turns them into a loss. How both are computed is the
backend's affair; all backends give the same up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from franca.objective.backends import Backend
from franca.objective.dense import Dense
from franca.objective.targets import Pairs, Targets


class Prototypes(nn.Module):
    """K prototypes of unit length; a row's logits are its products with them."""

    def __init__(self, num_prototypes: int, bottleneck: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_prototypes, bottleneck))  # [K, b]
        self.backend: Backend = Dense()

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the weight. Its length does not change the logits, but how far a step of AdamW turns it does."""
        nn.init.trunc_normal_(self.weight, std=0.02, generator=generator)

    @torch.no_grad()
    def assign(self, bottleneck: Tensor, *, temperature: float, num_iterations: int) -> Targets:
        """Balance the assignment of all rows over the prototypes.

        Args:
            bottleneck: [R, b], the teacher's rows of the whole global batch on this rank.
            temperature: Teacher temperature, above 0.
            num_iterations: Rounds of Sinkhorn-Knopp.
        """
        return self.backend.assign(
            bottleneck, self.weight.detach(), temperature=temperature, num_iterations=num_iterations
        )

    def forward(self, bottleneck: Tensor, targets: Targets, pairs: Pairs, *, temperature: float) -> Tensor:
        """Cross-entropy between teacher and student assignments, summed over pairs with their weights.

        With s the student's logits, q a teacher row's assignment and p = softmax(s), a pair costs
        H(q, p) = logsumexp(s) - q . s.

        Args:
            bottleneck: [R, b], the student's rows of one micro-batch.
            targets: Of the teacher's rows of the same micro-batch.
            pairs: P pairs; their weights hold every normalisation.
            temperature: Student temperature, above 0.

        Returns:
            The loss, a scalar in fp32, or in float64 for float64 bottlenecks.
        """
        return self.backend.cross_entropy(bottleneck, self.weight, targets, pairs, temperature=temperature)


def set_backend(module: nn.Module, backend: Backend) -> None:
    """Choose how all `Prototypes` inside ``module`` compute; results agree up to rounding."""
    for part in module.modules():
        if isinstance(part, Prototypes):
            part.backend = backend
