"""Runs a function on several gloo ranks and returns what each one found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# Ranks are forked from a process that has imported all this once.
PRELOADED = [
    "torch._dynamo",  # which every optimizer imports
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
    "franca.cli.main",
    "franca.train.pretrain",
]
METHOD = "forkserver"


def preload() -> None:
    """Make processes of ``METHOD`` start fast."""
    mp.set_forkserver_preload(PRELOADED)


def run_ranks(function: Callable[..., Any], *args: Any, world_size: int = 2, start_method: str = METHOD) -> list[Any]:
    """``function(rank, *args)`` on every rank of a fresh gloo group; the results in the order of ranks.

    What a library reads when it is first imported can only be set on ranks that are not forked: with ``spawn``.
    """
    preload()
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(
            _one_rank, (function, args, world_size, folder), nprocs=world_size, start_method=start_method
        )
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def _one_rank(rank: int, function: Callable[..., Any], args: tuple[Any, ...], world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    try:
        torch.save(function(rank, *args), Path(folder) / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
