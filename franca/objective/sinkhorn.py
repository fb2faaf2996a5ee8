"""Sinkhorn-Knopp on logarithms: balanced soft assignments of rows to prototypes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from franca.distributed.reduce import count_over_ranks, logsumexp_over_ranks
from franca.objective.logits import sum_dtype
from franca.objective.strips import HeldStrip, Strip


def balance(strips: Iterable[Strip], u: Tensor, *, num_prototypes: int, num_iterations: int) -> tuple[Tensor, Tensor]:
    """Find the prototype potentials that make every prototype equally used.

    With S the logits of all N rows (every rank, every micro-batch), Sinkhorn-Knopp scales exp(S) so that the columns of
    Q_ik = exp(u_i + S_ik + v_k) sum to 1/K and then its rows to 1/N, in turn:

        v_k = -log K - logsumexp_i(S_ik + u_i)
        u_i = -log N - z_i,  z_i = logsumexp_k(S_ik + v_k)

    It ends on the rows, so that the assignment of row i is exp(S_ik + v_k - z_i): v and z are all that has to be kept.
    Working on logarithms, nothing overflows whatever the temperature. A strip's v needs no other strip, so its share of
    z follows while its logits are at hand.

    Args:
        strips: Logits of this rank's R rows, divided by the teacher temperature, gone through once a round. R may be 0
            and may differ between ranks; the strips' columns must not.
        u: Row potentials to start from, [R]; zeros will do.
        num_prototypes: K.
        num_iterations: Rounds of columns and rows, at least 1.

    Returns:
        v [K], the same on every rank, and z [R]; zeros when no rank has a row.

    Source: Franca 1.1; Cuturi 2013; SwAV, algorithm 1. The result equals the multiplicative form of DINOv2.
    """
    total_rows = count_over_ranks(len(u), u.device)
    v, z = u.new_zeros(num_prototypes), torch.zeros_like(u)
    if total_rows == 0:
        return v, z
    for _ in range(num_iterations):
        z = torch.full_like(u, -math.inf)
        for strip in strips:
            v[strip.columns] = -math.log(num_prototypes) - logsumexp_over_ranks(strip.over_rows(u))
            z = torch.logaddexp(z, strip.over_columns(v[strip.columns]))
        u = -math.log(total_rows) - z
    return v, z


def sinkhorn_potentials(logits: Tensor, *, num_iterations: int) -> Tensor:
    """The potentials v [K] of logits [R, K] that are held, in fp32 or, for float64 logits, in float64."""
    logits = logits.to(sum_dtype(logits))
    u = logits.new_zeros(len(logits))
    return balance([HeldStrip(logits)], u, num_prototypes=logits.shape[1], num_iterations=num_iterations)[0]
