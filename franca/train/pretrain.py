"""Pretraining from beginning to end: put the parts together, resume where a run exists, train, say what happened."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from enum import Enum
from pathlib import Path

import torch
from rich.console import Console

from franca.config.schema import Config
from franca.data.record import differences, write_record
from franca.distributed.process_group import process_group
from franca.distributed.ranks import resolve_ranks
from franca.distributed.together import on_rank_zero
from franca.errors import ConfigError
from franca.layers.attention import set_attention
from franca.objective.backends import Backend
from franca.objective.prototypes import set_backend
from franca.train import assembly, checkpoint, initial_weights
from franca.train.checkpoint import Progress, step_name
from franca.train.closing_line import closing_line
from franca.train.compilation import compile_blocks
from franca.train.disk import check_disk, disk_need
from franca.train.display import Display
from franca.train.first_checkpoint import save_and_load
from franca.train.loop import stop_on_signal
from franca.train.machine import Machine
from franca.train.out_of_memory import Setting, explain_out_of_memory
from franca.train.parallel import parallelize
from franca.train.run_folder import RunFolder, check_run_folder, open_run_folder, run_path
from franca.train.startup import DATA_RECORD, Start, plan_start, show_start
from franca.train.student_teacher import StudentTeacher
from franca.train.training import Parts, Training


class Outcome(Enum):
    """How a call of `pretrain` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    PLANNED = "planned"


def pretrain(config: Config, *, command: str, console: Console, fresh: bool = False, dry_run: bool = False) -> Outcome:
    """Run, or go on with, the training that ``config`` describes.

    Args:
        config: Complete, with ``run.dir`` set.
        command: What the user typed, for the run folder.
        console: Where to print.
        fresh: Move a run that is already in the folder aside.
        dry_run: Build everything without allocating weights, print, and stop.

    Returns:
        Finished, stopped in the middle by a signal, or only planned.

    Raises:
        FrancaError: the configuration, the data or the run folder is not as it must be.
    """
    ranks = resolve_ranks(os.environ)
    if ranks.rank > 0:
        console = Console(quiet=True)  # rank 0 speaks for all
    start = plan_start(config, ranks, fresh=fresh)
    if dry_run:
        check_run_folder(config, fresh=fresh)
        show_start(start, assembly.choose_prototypes(config, start.machine), 0, console)
        try:
            check_disk(run_path(config), disk_need(config, start.networks))
        except ConfigError as error:  # the plan may be for another machine
            console.print(f"note: the run would be refused here: {error}")
        return Outcome.PLANNED
    with process_group(ranks, start.machine.device), stop_on_signal() as should_stop:
        folder, changes = open_run_folder(config, fresh=fresh)
        with closing(folder):
            for change in changes:
                console.print(f"note: changed since the run began: {change}")
            for difference in differences(start.record, start.source) if start.record else ():
                console.print(f"note: {difference}")
            return _run(start, folder, command, console, should_stop)


def _run(start: Start, folder: RunFolder, command: str, console: Console, should_stop: Callable[[], bool]) -> Outcome:
    """From the newest complete checkpoint, or from nothing, to the end of the run or a stop."""
    config, machine, networks = start.config, start.machine, start.networks
    found = on_rank_zero(lambda: checkpoint.complete_checkpoints(folder.checkpoints))
    if found and found[-1][0] >= config.train.steps:
        console.print(f"{folder.path} is finished: {found[-1][0]:,} steps. Start anew with --fresh.")
        return Outcome.FINISHED
    start_step, newest = found[-1] if found else (0, None)
    prototypes = assembly.choose_prototypes(config, machine)
    show_start(start, prototypes, start_step, console)
    on_rank_zero(lambda: check_disk(folder.path, disk_need(config, networks)))
    with explain_out_of_memory(Setting(start.settled, machine, prototypes.backend), networks):
        optimizer, progress = _start_or_resume(config, machine, networks, newest, console)
        folder.cut_metrics(progress.step)
        folder.describe(config, command, str(machine))  # first: from config.yaml on, a killed start is a run
        if start.record is None:
            on_rank_zero(lambda: write_record(folder.path / DATA_RECORD, start.source))
        if newest is None:
            assembly.build_export(config, networks)(folder.exports / f"teacher_{step_name(0)}.safetensors", 0)
            console.print(save_and_load(folder.checkpoints, networks, optimizer, progress))
        _speed_up(config, networks, prototypes.backend, console.print)
        parts = Parts(
            config=config, machine=machine, data=start.data, networks=networks, optimizer=optimizer, folder=folder
        )
        return _train(parts, progress, console, should_stop)


def _train(parts: Parts, progress: Progress, console: Console, should_stop: Callable[[], bool]) -> Outcome:
    """From ``progress`` to the end of the run, or a stop."""
    num_samples = parts.data.num_samples
    if progress.num_samples not in (0, num_samples):
        console.print(
            f"note: the data changed from {progress.num_samples:,} to {num_samples:,} samples; from here on the "
            "sample order is that of the new data"
        )
    progress.num_samples = num_samples
    display = Display(console, start_step=progress.step, num_steps=parts.config.train.steps)
    with closing(Training(parts, progress, display)) as training, display:
        finished = training.run(should_stop)
    teacher = parts.folder.exports / "teacher.safetensors"
    console.print(closing_line(training.progress, teacher, training.counting.bad_places, finished=finished))
    return Outcome.FINISHED if finished else Outcome.STOPPED


def _start_or_resume(
    config: Config, machine: Machine, networks: StudentTeacher, newest: Path | None, console: Console
) -> tuple[torch.optim.Optimizer, Progress]:
    """Weights and optimizer from the newest complete checkpoint, or new ones as ``init`` says."""
    if newest is None:
        started_from = initial_weights.initialize(networks, config, torch.device("cpu"))
        console.print(f"weights: {started_from}")
    parallelize(networks, machine.parallel, machine.ranks, device=machine.device, precision=machine.precision)
    if newest is None:
        return assembly.build_optimizer(config, networks), Progress()
    networks.materialize(machine.device)
    optimizer = assembly.build_optimizer(config, networks)
    progress = checkpoint.load(newest, networks, optimizer)
    console.print(f"resuming {newest}: student, teacher, heads, optimizer, data position, counts")
    return optimizer, progress


def _speed_up(config: Config, networks: StudentTeacher, backend: Backend, say: Callable[[str], None]) -> None:
    """Choose kernels; nothing here changes names or, beyond rounding, results."""
    for network in (networks.student, networks.teacher):
        set_attention(network.backbone, config.performance.attention)
        set_backend(network, backend)
    if config.performance.compile:
        compile_blocks([*networks.student.backbone.blocks, *networks.teacher.backbone.blocks], say)
