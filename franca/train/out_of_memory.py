"""What to say when memory runs out: what was estimated, and which options would help, the best first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from franca.config import derived
from franca.config.schema import Config
from franca.distributed.allocators import is_out_of_memory
from franca.errors import OutOfMemory
from franca.objective.backends import MIB, Backend
from franca.objective.chunked import Chunked
from franca.train.machine import Machine
from franca.train.memory import Memory, estimate_memory, size_text
from franca.train.parallel import SHARDED
from franca.train.share import fitting_micro_batches
from franca.train.student_teacher import StudentTeacher

SMALLEST_CHUNK_MIB = 64
"""Below this, chunks cost time and save next to nothing."""


@dataclass(frozen=True)
class Setting:
    """What the memory of a rank depends on."""

    config: Config
    machine: Machine
    backend: Backend

    def memory(self, networks: StudentTeacher) -> Memory:
        """Its estimate."""
        return estimate_memory(self.config, networks, self.machine, self.backend)


@contextmanager
def explain_out_of_memory(setting: Setting, networks: StudentTeacher) -> Iterator[None]:
    """Turn any way in which torch runs out of memory into one message.

    Raises:
        OutOfMemory: memory ran out in the context.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        first_line = next(iter(str(error).strip().splitlines()), "out of memory")
        raise OutOfMemory(f"{first_line}\n{advice(setting, networks)}") from error


def advice(setting: Setting, networks: StudentTeacher) -> str:
    """The estimate, and every option that lowers it without changing what is trained, the best first."""
    memory = setting.memory(networks)
    saved = {text: memory.peak - changed.memory(networks).peak for text, changed in levers(setting)}
    worth = sorted((text for text in saved if saved[text] > 0), key=lambda text: -saved[text])
    where = "a rank" if setting.machine.ranks.world > 1 else "this run"
    lines = [f"Estimated for {where}: {memory}."]
    if worth:
        width = max(map(len, worth))
        lines.append("What helps, with the same global batch and the same losses, the best first:")
        lines += [f"  {text:<{width}}  saves about {size_text(saved[text])}" for text in worth]
        lines.append("The same command with one of these goes on from the last checkpoint.")
    else:
        lines.append(
            "No option of performance would help: take more ranks, or train another run, with a smaller model or "
            "smaller crops."
        )
    return "\n".join(lines)


def levers(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Options as they are written, and the setting with them."""
    for lever in (_smaller_micro_batch, _checkpointing, _chunks, _shards):
        if (found := lever(setting)) is not None:
            yield found


def _smaller_micro_batch(setting: Setting) -> tuple[str, Setting] | None:
    share = setting.machine.share
    smaller = [size for size in fitting_micro_batches(setting.config, share.world) if size < share.micro_batch]
    if not smaller:
        return None
    accumulation = share.accumulation * share.micro_batch // smaller[-1]
    machine = replace(setting.machine, share=replace(share, accumulation=accumulation, micro_batch=smaller[-1]))
    return f"performance.micro_batch={smaller[-1]}", replace(setting, machine=machine)


def _checkpointing(setting: Setting) -> tuple[str, Setting] | None:
    if derived.checkpointed_blocks(setting.config) == 1:
        return None
    performance = replace(setting.config.performance, activation_checkpointing="block")
    changed = replace(setting, config=replace(setting.config, performance=performance))
    return "performance.activation_checkpointing=block", changed


def _chunks(setting: Setting) -> tuple[str, Setting] | None:
    small = Chunked(SMALLEST_CHUNK_MIB * MIB)
    if not isinstance(setting.backend, Chunked):
        return "performance.prototypes=chunked", replace(setting, backend=small)
    return f"performance.prototype_chunk_mib={SMALLEST_CHUNK_MIB}", replace(setting, backend=small)


def _shards(setting: Setting) -> tuple[str, Setting] | None:
    if setting.machine.ranks.world == 1 or setting.machine.parallel == SHARDED[0]:
        return None
    return f"performance.parallel={SHARDED[0]}", replace(setting, machine=replace(setting.machine, parallel=SHARDED[0]))
