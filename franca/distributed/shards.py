"""Tensors of which every rank may hold a shard only."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor


def local(tensor: Tensor) -> Tensor:
    """This rank's shard, sharing its memory; a tensor that is not sharded is its own."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """What all shards make up, on every rank; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
