"""Skip residual branches for some sequences, and do not compute what is skipped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.layers.packing import Group, Layout

Branch = Callable[[Tensor, Layout], Tensor]


@dataclass(frozen=True)
class Kept:
    """The sequences of a table that go through a branch."""

    rows: Tensor  # [T'] int64, their tokens' rows in the table
    layout: Layout  # of these rows
    scale: Tensor  # [T', 1] float32, sequences over kept sequences, of each row's group


def num_kept(num_sequences: int, rate: float) -> int:
    """Sequences of a group that go through a branch; at least one, so that every parameter has a gradient."""
    return max(1, int(num_sequences * (1 - rate)))


def draw_kept(layout: Layout, rate: float, key: tuple[int, ...], device: torch.device) -> Kept:
    """Draw which sequences go through a branch.

    Args:
        layout: of the table.
        rate: share of each group's sequences that skip the branch, in [0, 1).
        key: numbers that fix the draw, such as (seed, layer, branch); each group of the layout adds its index.
        device: of the table.
    """
    rows, kept_layout, scales = [], [], []
    first_row = 0
    for index, group in enumerate(layout):
        kept = num_kept(group.num_sequences, rate)
        order = torch.randperm(group.num_sequences, generator=_generator(*key, index))
        sequences = order[:kept].sort().values
        rows.append((first_row + sequences[:, None] * group.length + torch.arange(group.length)).flatten())
        kept_layout.append(Group(kept, group.length))
        scales.append(torch.full((kept * group.length, 1), group.num_sequences / kept))
        first_row += group.num_tokens
    return Kept(
        rows=torch.cat(rows).to(device, non_blocking=True),
        layout=tuple(kept_layout),
        scale=torch.cat(scales).to(device, non_blocking=True),
    )


def add_branch(tokens: Tensor, layout: Layout, branch: Branch, kept: Kept | None) -> Tensor:
    """Add a residual branch to a table.

    Args:
        tokens: [T, D].
        layout: of the table.
        branch: maps a table and its layout to an update of the same shape.
        kept: the sequences that take part, their update scaled to keep its expectation; None takes all.

    Source: Huang et al., "Deep Networks with Stochastic Depth"; by whole sequences of a batch as in DINOv2.
    """
    if kept is None:
        return tokens + branch(tokens, layout)
    update = branch(tokens.index_select(0, kept.rows), kept.layout) * kept.scale  # [T', D]
    return tokens.index_add(0, kept.rows, update.to(tokens.dtype))


def _generator(*key: int) -> torch.Generator:
    """A generator whose stream depends on every number of the key, on any machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
