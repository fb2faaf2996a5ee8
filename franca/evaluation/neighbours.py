"""Nearest neighbours by cosine similarity, exact, within a stated amount of memory.

The bank stays as it is stored, in any dtype, on disk or in memory. Blocks of it are normalised in fp32 and multiplied
with a block of queries; of every product only the best k per query are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from franca.errors import DataError

MIB = 2**20
MAX_BANK_ROWS = 8192
MIN_QUERIES = 16  # below this, products are slow and the bank is read too often

Columns = Callable[[Tensor], Tensor]  # [B, D] -> [B, d]


@dataclass(frozen=True)
class Blocks:
    """How much is in work at once."""

    num_queries: int
    num_bank_rows: int

    @classmethod
    def within(cls, memory_mib: int, *, num_bank: int, num_queries: int, width: int, k: int) -> Blocks:
        """The largest blocks that keep to ``memory_mib``, beside the features as stored.

        Raises:
            DataError: The budget is too small for blocks of any use.
        """
        bank_rows = min(num_bank, max(MAX_BANK_ROWS, k))
        fixed = 16 * width * bank_rows  # as read, normalised, and what makes them, in fp32
        # A query as read, normalised and seen; its similarities; its best k, those of the block, and both merged.
        each = 16 * width + 4 * bank_rows + 80 * k
        least = -(-(fixed + min(MIN_QUERIES, num_queries) * each) // MIB)
        if memory_mib < least:
            raise DataError(
                f"memory_mib={memory_mib} is too little for k={k} neighbours in {width} dimensions; "
                f"expected at least memory_mib={least}"
            )
        return cls(min(num_queries, (memory_mib * MIB - fixed) // each), bank_rows)


class Bank:
    """Embeddings that neighbours are looked for in.

    Args:
        rows: [n, D], of any dtype and anywhere.
        blocks: How many rows are taken at a time.
        columns: Which columns of them to compare, after conversion to fp32; all unless told.
        device: Where the products are computed.
    """

    def __init__(
        self, rows: Tensor, blocks: Blocks, *, columns: Columns | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self._rows, self._blocks, self._columns, self._device = rows, blocks, columns, torch.device(device)
        total = sum(self._unit(block).sum(0).cpu().double() for block in rows.split(blocks.num_bank_rows))
        assert isinstance(total, Tensor)
        self._centre = (total / len(rows)).float().to(self._device)  # [d]

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k nearest rows of every query, best first.

        Args:
            queries: [B, D], one block of them.
            k: At most n.

        Returns:
            Cosine similarity up to a number per query [B, k], and rows of the bank [B, k].
        """
        seen = self._unit(queries).sub_(self._centre)
        best = seen.new_empty(len(seen), 0), torch.empty(len(seen), 0, dtype=torch.int64, device=self._device)
        for first, block in self._centred():
            # Cosine similarity up to a number per query, which changes no order: for unit vectors it is
            # 1 - |a - b|^2 / 2, and distances may be taken from any centre. Near it, embeddings that are almost
            # parallel still differ in fp32.
            offset = block.square().sum(1) / -2
            similarity, index = torch.addmm(offset, seen, block.T).topk(min(k, len(block)), dim=1)
            best = _merge(best, (similarity, index.add_(first)), k)
        return best

    def _centred(self) -> Iterator[tuple[int, Tensor]]:
        """Every block, with the number of its first row."""
        for first in range(0, len(self._rows), self._blocks.num_bank_rows):
            block = self._rows[first : first + self._blocks.num_bank_rows]
            yield first, self._unit(block).sub_(self._centre)

    def _unit(self, rows: Tensor) -> Tensor:
        """Unit vectors [B, d], a tensor of their own."""
        rows = rows.to(self._device).float()
        return normalize(rows if self._columns is None else self._columns(rows))


def _merge(old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """The best k of two lists, best first; among equals those of the first list."""
    similarity, index = (torch.cat(pair, dim=1) for pair in zip(old, new, strict=True))
    similarity, places = similarity.topk(min(k, similarity.shape[1]), dim=1)
    return similarity, index.gather(1, places)
