"""What is printed before training starts: sizes, lengths, rates and a memory estimate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from franca.config import derived
from franca.config.schema import Config
from franca.objective.backends import Backend, Choice
from franca.objective.prototypes import Prototypes
from franca.train.assembly import peak_learning_rate
from franca.train.machine import Machine
from franca.train.parallel import num_shards
from franca.train.student_teacher import StudentTeacher

GIB = 2**30


def startup_facts(
    config: Config,
    networks: StudentTeacher,
    machine: Machine,
    *,
    prototypes: Choice,
    data: str,
    num_samples: int,
    start_step: int = 0,
) -> dict[str, str]:
    """The rows of the start-up table, by name."""
    train, run = config.train, config.run
    images = train.steps * train.global_batch
    memory = estimate_memory(config, networks, machine, prototypes.backend)
    parts = {name: count_parameters(part) for name, part in networks.student.parts().items()}
    return {
        "data": data,
        "device": f"{machine}, {torch.get_num_threads()} threads",
        "parameters": ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in parts.items()),
        "memory, estimated" + (" a rank" if machine.ranks.world > 1 else ""): ", ".join(
            f"{name} {size / GIB:.2f} GiB" for name, size in memory.items()
        ),
        "prototype losses": str(prototypes),
        "global batch": f"{train.global_batch:,} images = {machine.share}",
        "steps": f"{train.steps:,}" + (f", going on after {start_step:,}" if start_step else ""),
        "images": f"{images:,} = {images / num_samples:.2f} passes over {num_samples:,}",
        "learning rate": f"{peak_learning_rate(config):.3g} ({config.optim.learning_rate:.3g}, rule "
        f"{config.optim.scaling_rule}, reference batch {config.optim.reference_batch:,}), "
        f"warm-up {config.optim.warmup_steps:,} steps",
        "checkpoints": f"every {run.checkpoint_every_steps:,} steps, "
        f"{num_checkpoints(train.steps - start_step, run.checkpoint_every_steps):,} to come",
        "run folder": str(run.dir),
    }


def num_checkpoints(steps: int, every_steps: int) -> int:
    """Checkpoints in ``steps`` steps; the last step always has one."""
    return -(-steps // every_steps)


def count_parameters(module: nn.Module) -> int:
    """Scalar parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def estimate_memory(config: Config, networks: StudentTeacher, machine: Machine, backend: Backend) -> dict[str, int]:
    """Bytes on one rank by purpose; activations and logits are rough, the rest is exact.

    Activations count what a block keeps for the backward pass, about 16 widths per token plus its feed-forward;
    prototype logits are a chunk, or all of them where the losses are dense. Losses in chunks find the gradients of all
    prototypes, whole on every rank, before backward. In the first micro-batch they become the gradients that are kept,
    or are scattered into them; from the second on they wait beside these.
    """
    student, teacher = count_parameters(networks.student), count_parameters(networks.teacher)
    batch, world = machine.share.micro_batch, machine.ranks.world
    shards = num_shards(machine.parallel, machine.ranks)
    model, data = config.model, config.data
    patches_global = (data.global_size_px // model.patch_size_px) ** 2
    patches_local = (data.local_size_px // model.patch_size_px) ** 2
    tokens = batch * (2 * (patches_global + 1) + data.num_local_crops * (patches_local + 1))
    prototypes = sum(count_parameters(part) for part in networks.student.modules() if isinstance(part, Prototypes))
    waiting = backend.waiting_bytes(4 * prototypes)
    becomes_kept = waiting // shards if machine.share.accumulation == 1 else 0
    block = 30 * derived.width(model) * (4 if machine.precision == "fp32" else 2)
    return {
        "weights": 4 * (student + teacher) // shards,
        "gradients": 4 * student // shards + waiting - becomes_kept,
        "optimizer": 8 * student // shards,
        "activations": int(tokens * block * len(networks.student.backbone.blocks)),
        "prototype logits": backend.logits_bytes(derived.dense_logits_bytes(config, micro_batch=batch, world=world)),
    }


def print_facts(console: Console, title: str, facts: Mapping[str, str]) -> None:
    """A two-column table."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)
