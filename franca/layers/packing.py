"""Sequences of several lengths as one table of tokens.

A linear layer or a norm does not care which sequence a token belongs to. So the tokens of all sequences are kept
as the rows of one [T, D] table, group after group, and every such layer is a single call. Only attention looks
at the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Consecutive sequences of equal length."""

    num_sequences: int
    length: int

    @property
    def num_tokens(self) -> int:
        """Rows that the group takes in the table."""
        return self.num_sequences * self.length


Layout = tuple[Group, ...]


def pack(sequences: Sequence[Tensor]) -> tuple[Tensor, Layout]:
    """Put groups of sequences into one table.

    Args:
        sequences: one [n, L, D] tensor per group; D is the same for all.

    Returns:
        The table [T, D], where T is the sum of all n * L, and its layout.
    """
    layout = tuple(Group(group.shape[0], group.shape[1]) for group in sequences)
    tables = [group.flatten(0, 1) for group in sequences]  # [n, L, D] -> [n * L, D]
    return (tables[0] if len(tables) == 1 else torch.cat(tables)), layout


def unpack(tokens: Tensor, layout: Layout) -> list[Tensor]:
    """The groups [n, L, D] of a table [T, D], as views."""
    tables = tokens.split([group.num_tokens for group in layout]) if len(layout) > 1 else [tokens]
    return [
        table.unflatten(0, (group.num_sequences, group.length)) for table, group in zip(tables, layout, strict=True)
    ]


def leading(tokens: Tensor, layout: Layout, count: int) -> tuple[Tensor, Layout]:
    """The table of the first ``count`` tokens of every sequence, and its layout."""
    return pack([group[:, :count] for group in unpack(tokens, layout)])
