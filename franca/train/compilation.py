"""Compiles blocks, and goes on without where that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo import lookup_backend

COMPILER = "inductor"


def compile_blocks(blocks: Sequence[nn.Module], say: Callable[[str], None]) -> None:
    """Compile each block; one that cannot be compiled runs as it is. Names and, but for rounding, results stay.

    Args:
        blocks: Changed in place. They are compiled when they first run.
        say: Told once what the compiler stumbled over.
    """
    torch._dynamo.config.suppress_errors = True  # what cannot be traced runs as it is, too
    backend = _CompiledOrEager(say)
    for block in blocks:
        block.compile(backend=backend)


class _CompiledOrEager:
    """A compiler that hands back what it was given when it fails."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._compile = lookup_backend(COMPILER)
        self._has_failed = False

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor], **options: Any) -> Callable[..., Any]:
        try:
            return self._compile(graph, inputs, **options)
        except Exception as error:  # whatever a missing compiler, an unknown device or a bug in torch brings up
            if not self._has_failed:
                self._say(
                    "note: performance.compile has no effect on some or all blocks, which run as they are: "
                    f"{type(error).__name__}: {_first_line(error)}"
                )
            self._has_failed = True
            return graph.forward


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"
