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
from franca.train.assembly import peak_learning_rate
from franca.train.student_teacher import StudentTeacher

GIB = 2**30


def startup_facts(
    config: Config,
    networks: StudentTeacher,
    *,
    device: torch.device,
    precision: str,
    prototypes: Choice,
    data: str,
    num_samples: int,
    start_step: int = 0,
) -> dict[str, str]:
    """The rows of the start-up table, by name."""
    train, run = config.train, config.run
    micro_batch = derived.micro_batch(config)
    images = train.steps * train.global_batch
    memory = estimate_memory(config, networks, precision, prototypes.backend)
    parts = {name: count_parameters(part) for name, part in networks.student.parts().items()}
    return {
        "data": data,
        "device": f"{device}, {precision}, 1 rank, {torch.get_num_threads()} threads",
        "parameters": ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in parts.items()),
        "memory, estimated": ", ".join(f"{name} {size / GIB:.2f} GiB" for name, size in memory.items()),
        "prototype losses": str(prototypes),
        "global batch": f"{train.global_batch:,} images = {train.global_batch // micro_batch} x {micro_batch:,}",
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


def estimate_memory(config: Config, networks: StudentTeacher, precision: str, backend: Backend) -> dict[str, int]:
    """Bytes by purpose; activations and logits are rough, the rest is exact.

    Activations count what a block keeps for the backward pass, about 16 widths per token plus its feed-forward;
    prototype logits are a chunk, or all of them where the losses are dense.
    """
    student, teacher = count_parameters(networks.student), count_parameters(networks.teacher)
    batch = derived.micro_batch(config)
    model, data = config.model, config.data
    patches_global = (data.global_size_px // model.patch_size_px) ** 2
    patches_local = (data.local_size_px // model.patch_size_px) ** 2
    tokens = batch * (2 * (patches_global + 1) + data.num_local_crops * (patches_local + 1))
    block = 30 * derived.width(model) * (4 if precision == "fp32" else 2)
    return {
        "weights": 4 * (student + teacher),
        "gradients": 4 * student,
        "optimizer": 8 * student,
        "activations": int(tokens * block * len(networks.student.backbone.blocks)),
        "prototype logits": backend.logits_bytes(derived.dense_logits_bytes(config)),
    }


def print_facts(console: Console, title: str, facts: Mapping[str, str]) -> None:
    """A two-column table."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)
