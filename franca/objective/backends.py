"""How assignments and losses are computed: what all ways have in common, and the choice of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from franca.errors import ConfigError
from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.objective.fused import Fused, why_not
from franca.objective.probe import Task, time_backends
from franca.objective.targets import Pairs, Targets

BACKENDS = ("auto", "dense", "chunked", "triton", "probe")
MIB = 2**20


class Backend(Protocol):
    """Both halves of a clustering loss, for the prototypes of one level."""

    def assign(self, bottleneck: Tensor, weight: Tensor, *, temperature: float, num_iterations: int) -> Targets:
        """Balance rows [R, b] over the K unit vectors along ``weight`` [K, b]."""

    def cross_entropy(
        self, bottleneck: Tensor, weight: Tensor, targets: Targets, pairs: Pairs, *, temperature: float
    ) -> Tensor:
        """Sum over pairs of weight times H(q, p); differentiable by ``bottleneck`` and ``weight``."""

    def logits_bytes(self, dense_bytes: int) -> int:
        """Memory that logits take where holding all of them takes ``dense_bytes``."""

    def waiting_bytes(self, weight_bytes: int) -> int:
        """Memory of the gradients that wait for backward, of prototypes that take ``weight_bytes``."""


@dataclass(frozen=True)
class Choice:
    """A backend and why it was taken; prints as one line."""

    backend: Backend
    why: str

    def __str__(self) -> str:
        return f"{self.backend}; {self.why}"


def choose_backend(
    name: str,
    *,
    device: torch.device,
    dense_bytes: int,
    task: Task,
    chunk_mib: int | None = None,
    compile: bool = False,
) -> Choice:
    """The backend that ``name`` stands for.

    Args:
        name: ``dense``, ``chunked``, ``triton``; ``auto`` goes by sizes alone, so that a run repeats: dense where that
            takes no more than a chunk, chunked elsewhere; ``probe`` tries chunked and, where it runs, triton.
        device: That computes.
        dense_bytes: What logits take where all are held.
        task: Of the widest level, for the probe.
        chunk_mib: Size of a chunk; None takes 64 on the CPU, where larger ones leave the caches, and 512 elsewhere,
            where the work in a chunk has to outlast the launch of its kernels.
        compile: Whether the chunked forms compile what they do to a tile.

    Raises:
        ConfigError: there is no such backend, or the device cannot run it.
    """
    if name not in BACKENDS:
        raise ConfigError(f"performance.prototypes={name!r} is unknown; choose {', '.join(BACKENDS)}")
    chunk_bytes = MIB * (chunk_mib or (64 if device.type == "cpu" else 512))
    chunked, fused, obstacle = Chunked(chunk_bytes, compile), Fused(chunk_bytes, compile), why_not(device)
    if name == "probe":
        return _fastest([chunked] if obstacle else [chunked, fused], task, device)
    if name == "triton" and obstacle:
        raise ConfigError(f"performance.prototypes=triton {obstacle}; choose auto, dense, chunked or probe")
    if name != "auto":
        asked: dict[str, Backend] = {"dense": Dense(), "chunked": chunked, "triton": fused}
        return Choice(asked[name], "as asked")
    return Choice(Dense() if dense_bytes <= chunk_bytes else chunked, f"all logits take {dense_bytes / MIB:,.0f} MiB")


def _fastest(backends: Sequence[Chunked], task: Task, device: torch.device) -> Choice:
    seconds = time_backends(backends, task, device)
    found = ", ".join(f"{backend.name} {1000 * t:.1f} ms" for backend, t in zip(backends, seconds, strict=True))
    return Choice(backends[seconds.index(min(seconds))], f"the fastest of: {found}")
