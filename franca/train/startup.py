"""What a start of a run knows before anything is allocated, and prints: sizes, lengths, rates, a memory estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table

from franca.config import derived
from franca.config.schema import Config
from franca.data.collate import PretrainingData
from franca.data.record import Record, read_record
from franca.data.sample import Source
from franca.data.sources import describe, open_training_source
from franca.distributed.ranks import Ranks
from franca.objective.backends import Choice
from franca.train.assembly import build_networks, peak_learning_rate
from franca.train.disk import disk_need
from franca.train.machine import Machine, resolve_machine
from franca.train.memory import count_parameters, estimate_memory
from franca.train.run_folder import run_path
from franca.train.student_teacher import StudentTeacher

DATA_RECORD = "data.json"
"""What the data were when a run began, in its folder."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a start of a run knows before anything is allocated or written."""

    config: Config
    """As the user asked; the run folder keeps this one."""
    settled: Config
    """What the user left open is settled here, for this start."""
    networks: StudentTeacher
    """On the meta device."""
    machine: Machine
    record: Record | None
    """Of the data when the run began; None for a new run."""
    source: Source
    data: PretrainingData


def plan_start(config: Config, ranks: Ranks, *, fresh: bool) -> Start:
    """Where the run computes, and on what; a run that is not ``fresh`` keeps to the data it began with.

    Raises:
        FrancaError: the machine or the data are not as they must be.
    """
    networks = build_networks(config)
    machine = resolve_machine(config, networks, ranks)
    record = None if fresh else read_record(run_path(config) / DATA_RECORD)
    source = open_training_source(config.data, config.performance, record=record)
    settled = replace(config, performance=replace(config.performance, micro_batch=machine.share.micro_batch))
    return Start(
        config=config,
        settled=settled,
        networks=networks,
        machine=machine,
        record=record,
        source=source,
        data=PretrainingData.from_config(source, settled),
    )


def show_start(start: Start, prototypes: Choice, start_step: int, console: Console) -> None:
    """Print the table, and below it what may not be meant."""
    facts = startup_facts(
        start.settled,
        start.networks,
        start.machine,
        prototypes=prototypes,
        data=describe(start.source),
        num_samples=len(start.source),
        start_step=start_step,
    )
    print_facts(console, "franca pretrain", facts)
    for notice in notices(start.config, start.machine):
        console.print(f"note: {notice}")


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


def notices(config: Config, machine: Machine) -> list[str]:
    """What is allowed but may not be meant."""
    found = []
    if config.performance.parallel not in ("auto", machine.parallel):
        found.append(f"performance.parallel={config.performance.parallel} has no effect: there is one rank")
    if config.performance.compile:
        found.append(
            "performance.compile: blocks are compiled in the first steps, which take longer; one that cannot be "
            "compiled runs as it is, with a note"
        )
    if config.objective.koleo_weight > 0 and derived.koleo_group_size(config) < 2:
        found.append(f"KoLeo is off: no group of 2 to 32 images divides train.global_batch={config.train.global_batch}")
    if config.optim.warmup_steps >= config.train.steps:
        found.append(
            f"optim.warmup_steps={config.optim.warmup_steps:,}: the warm-up is not over when the run ends after "
            f"{config.train.steps:,} steps"
        )
    return found


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
