"""Sinkhorn-Knopp on logarithms: balanced soft assignments of rows to prototypes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from franca.distributed.reduce import count_over_ranks, logsumexp_over_ranks


def sinkhorn_potentials(logits: Tensor, *, num_iterations: int) -> Tensor:
    """Find the prototype potentials that make every prototype equally used.

    With S the logits of all N rows (every rank, every micro-batch), Sinkhorn-Knopp scales exp(S) so that the columns of
    Q_ik = exp(u_i + S_ik + v_k) sum to 1/K and then its rows to 1/N, in turn. It ends on the rows, so that the
    assignment of row i is softmax_k(S_ik + v_k): v is all that has to be kept. Working on u, v and
    log-sum-exp, nothing overflows whatever the temperature.

    Args:
        logits: [R, K], this rank's rows, already divided by the teacher temperature; R may be 0 and may differ
            between ranks.
        num_iterations: Rounds of columns and rows, at least 1.

    Returns:
        v [K] in fp32, the same on every rank; zeros when no rank has a row.

    Source: Franca 1.1; Cuturi 2013; SwAV, algorithm 1. The result equals the multiplicative form of DINOv2.
    """
    logits = logits.float()  # [R, K]
    num_rows, num_prototypes = logits.shape
    total_rows = count_over_ranks(num_rows, logits.device)
    v = logits.new_zeros(num_prototypes)
    if total_rows == 0:
        return v
    u = logits.new_zeros(num_rows)
    for _ in range(num_iterations):
        v = -math.log(num_prototypes) - logsumexp_over_ranks(torch.logsumexp(logits + u[:, None], dim=0))  # [K]
        u = -math.log(total_rows) - torch.logsumexp(logits + v, dim=1)  # [R]
    return v
