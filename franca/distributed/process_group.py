"""Start and stop of the group in which ranks talk to each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from franca.distributed.lifetime import end_with_parent, leave_signals_to_parent
from franca.distributed.ranks import Ranks
from franca.distributed.reduce import is_distributed


@contextmanager
def process_group(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """A group of all ranks while the context lasts; one rank needs none.

    CUDA tensors travel by nccl and all others by gloo, so that small questions do not make a device wait.
    """
    if ranks.launcher == "torchrun":
        end_with_parent()  # srun ends its tasks itself
    if ranks.world == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=ranks.rendezvous,
        rank=ranks.rank,
        world_size=ranks.world,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield
        leave_signals_to_parent()  # torchrun stops the others once one has left with a code that is not 0
        dist.barrier()
    finally:
        dist.destroy_process_group()


def new_cpu_group() -> dist.ProcessGroup | None:
    """A second group of all ranks, for a thread whose messages must not mix with the others; None on one process."""
    if not is_distributed():
        return None
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)
    return group
