"""Blocks one after the other, with stochastic depth and with less memory where asked for."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from franca.layers.packing import Layout
from franca.layers.stochastic_depth import Kept, draw_kept


def run_blocks(
    blocks: nn.ModuleList,
    tokens: Tensor,
    layout: Layout,
    *,
    indices: range | None = None,
    stochastic_depth: float = 0.0,
    seed: int | None = None,
    checkpoint_every: int = 0,
) -> Tensor:
    """Send a table of tokens [T, D] through blocks.

    The residual stream keeps the dtype of the parameters, fp32 under autocast.

    Args:
        blocks: all blocks of the network.
        tokens: packed sequences.
        layout: of the table.
        indices: which blocks to run; None runs all.
        stochastic_depth: share of the sequences, in [0, 1), that skip a branch.
        seed: fixes which sequences skip which branches; None skips nothing.
        checkpoint_every: with autograd, keep only what goes into each run of so many blocks; 0 keeps everything.
    """
    indices = range(len(blocks)) if indices is None else indices

    def run(tokens: Tensor, indices: Iterable[int]) -> Tensor:
        for index in indices:
            kept = _draw_kept(layout, stochastic_depth, seed, index, tokens.device)
            tokens = blocks[index](tokens, layout, kept)
        return tokens

    if not checkpoint_every or not torch.is_grad_enabled():
        return run(tokens, indices)
    for start in range(0, len(indices), checkpoint_every):
        segment = indices[start : start + checkpoint_every]
        # Branches are drawn from generators of their own, so the state of torch's need not be kept.
        tokens = checkpoint(run, tokens, segment, use_reentrant=False, preserve_rng_state=False)
    return tokens


def _draw_kept(
    layout: Layout, rate: float, seed: int | None, index: int, device: torch.device
) -> tuple[Kept, Kept] | None:
    """Which sequences take part in the two branches of block ``index``."""
    if seed is None or rate == 0:
        return None
    attention, ffn = (draw_kept(layout, rate, (seed, index, branch), device) for branch in (0, 1))
    return attention, ffn
