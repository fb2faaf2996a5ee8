"""What is printed before training starts: sizes, lengths, rates and a memory estimate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from rich.console import Console
from rich.table import Table

from franca.config.schema import Config
from franca.objective.backends import Choice
from franca.train.assembly import peak_learning_rate
from franca.train.disk import disk_need
from franca.train.machine import Machine
from franca.train.memory import count_parameters, estimate_memory
from franca.train.student_teacher import StudentTeacher


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
    parts = {name: count_parameters(part) for name, part in networks.student.parts().items()}
    return {
        "data": data,
        "device": f"{machine}, {torch.get_num_threads()} threads",
        "parameters": ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in parts.items()),
        "memory, estimated" + (" a rank" if machine.ranks.world > 1 else ""): str(
            estimate_memory(config, networks, machine, prototypes.backend)
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
        "disk": str(disk_need(config, networks)),
        "run folder": str(run.dir),
    }


def num_checkpoints(steps: int, every_steps: int) -> int:
    """Checkpoints in ``steps`` steps; the last step always has one."""
    return -(-steps // every_steps)


def print_facts(console: Console, title: str, facts: Mapping[str, str]) -> None:
    """A two-column table."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)
