"""KoLeo: keeps every embedding away from its nearest neighbour, so that embeddings spread over the sphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from franca.objective.logits import sum_dtype


def koleo_loss(embeddings: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Mean negative logarithm of the distance to the nearest neighbour within each group.

    Args:
        embeddings: [G, n, D], G groups of n >= 2 embeddings; normalised here.
        eps: Added to each coordinate's difference and to the distance, as in DINOv2.

    Returns:
        [G], the loss of every group, in fp32, or in float64 for float64 embeddings.

    Source: Sablayrolles et al. 2019; DINOv2. Never in half precision, in which eps would vanish.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        x = F.normalize(embeddings.to(sum_dtype(embeddings)), dim=-1, eps=eps)
        with torch.no_grad():
            similarity = x @ x.transpose(1, 2)  # [G, n, n]
            similarity.diagonal(dim1=1, dim2=2).fill_(-1)
            nearest = similarity.argmax(dim=2)  # [G, n]
        neighbours = x.gather(1, nearest[..., None].expand_as(x))
        distance = torch.linalg.vector_norm(x - neighbours + eps, dim=-1)  # [G, n]
        return -torch.log(distance + eps).mean(dim=1)
