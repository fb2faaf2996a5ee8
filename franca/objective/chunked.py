"""The chunked form: logits never exist; a product is computed again wherever it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from franca.distributed.reduce import max_over_ranks
from franca.objective.cross_entropy import CrossEntropy
from franca.objective.logits import Logits, product_dtype, sum_dtype
from franca.objective.sinkhorn import balance
from franca.objective.strips import Strip, TiledStrips
from franca.objective.targets import Pairs, Targets
from franca.objective.tile_math import EAGER, TileMath, compiled
from franca.objective.tiles import Cut


@dataclass(frozen=True)
class Chunked:
    """Holds a chunk of logits at a time, whatever the number of rows and prototypes.

    Args:
        chunk_bytes: What a tile of logits with its copies and factors may take.
        compile: Whether what is done to a tile is compiled into single passes.
    """

    chunk_bytes: int
    compile: bool = False

    name: ClassVar[str] = "chunked"

    def __str__(self) -> str:
        how = ", compiled" if self.compile else ""
        return f"{self.name}{how}, {self.chunk_bytes / 2**20:,.0f} MiB of logits at a time"

    def logits_bytes(self, dense_bytes: int) -> int:
        """A chunk, unless there are fewer."""
        return min(self.chunk_bytes, dense_bytes)

    def waiting_bytes(self, weight_bytes: int) -> int:
        """The gradients of all prototypes are found with the losses."""
        return weight_bytes

    @property
    def tile_math(self) -> TileMath:
        """What is done to a tile."""
        return compiled() if self.compile else EAGER

    def assign(self, bottleneck: Tensor, weight: Tensor, *, temperature: float, num_iterations: int) -> Targets:
        """Sinkhorn-Knopp with one product a round where all rows fit into a chunk, else with two."""
        logits = Logits(bottleneck, weight, temperature, sum_dtype(bottleneck))
        u = bottleneck.new_zeros(len(bottleneck), dtype=logits.dtype)
        # Ranks reduce strip by strip: the rank with the most rows says how wide the strips of all are.
        strips = self.strips(logits, max_over_ranks(len(bottleneck), bottleneck.device))
        v, z = balance(strips, u, num_prototypes=len(weight), num_iterations=num_iterations)
        return Targets(bottleneck, weight, v, z, temperature)

    def cross_entropy(
        self, bottleneck: Tensor, weight: Tensor, targets: Targets, pairs: Pairs, *, temperature: float
    ) -> Tensor:
        """The loss, with the gradients that are asked for found on the way."""
        student = Logits(bottleneck.detach(), weight.detach(), temperature, product_dtype(bottleneck))
        num_rows = max(len(bottleneck), len(targets.bottleneck))
        strips, cut = self.strips(student, num_rows), self.cut(student, num_rows)
        # A function is not told of no_grad: there it gets inputs that need no gradient.
        inputs = (bottleneck, weight) if torch.is_grad_enabled() else (student.rows, student.weight)
        loss: Tensor = CrossEntropy.apply(*inputs, student, targets, pairs, strips, cut, self.tile_math)
        return loss

    def strips(self, logits: Logits, num_rows: int) -> Iterable[Strip]:
        """How sums over logits are taken, cut for ``num_rows`` rows."""
        return TiledStrips(logits, self.cut(logits, num_rows), self.tile_math)

    def cut(self, logits: Logits, num_rows: int) -> Cut:
        """Tiles that fit into a chunk."""
        num_prototypes, width = logits.weight.shape
        itemsize = torch.empty((), dtype=sum_dtype(logits.rows)).element_size()
        return Cut.of(num_rows, num_prototypes, width, chunk_bytes=self.chunk_bytes, itemsize=itemsize)
