"""Pretraining from beginning to end: put the parts together, resume where a run exists, train, say what happened."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch
from rich.console import Console

from franca.config import derived
from franca.config.schema import Config
from franca.data.collate import PretrainingData
from franca.data.loader import make_loader
from franca.data.record import differences, read_record, write_record
from franca.data.sources import describe, open_training_source
from franca.distributed.device import resolve_device, resolve_precision
from franca.errors import ConfigError, DataError
from franca.layers.attention import set_attention
from franca.objective.backends import Backend
from franca.objective.prototypes import set_backend
from franca.train import assembly, checkpoint, initial_weights
from franca.train.checkpoint import Progress, step_name
from franca.train.clipping import Clip
from franca.train.data_wait import AdviseOnDataWait, advice_on_data_wait
from franca.train.display import Display
from franca.train.hooks import (
    CountSamples,
    LimitBadSamples,
    LimitSkippedSteps,
    LogMetrics,
    SaveCheckpoints,
    skipped_by_reason,
)
from franca.train.loop import Hook, stop_on_signal, train
from franca.train.run_folder import RunFolder, check_run_folder, open_run_folder
from franca.train.startup import print_facts, startup_facts
from franca.train.student_teacher import StudentTeacher

DATA_RECORD = "data.json"
NUM_WORST = 3


class Outcome(Enum):
    """How a call of `pretrain` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    PLANNED = "planned"


@dataclass(frozen=True)
class Machine:
    """Where and how the run computes."""

    device: torch.device
    precision: str


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
    machine = resolve_machine(config)
    record = None if fresh else read_record(Path(str(config.run.dir)) / DATA_RECORD)
    source = open_training_source(config.data, config.performance, record=record)
    data = PretrainingData.from_config(source, config)
    networks = assembly.build_networks(config)
    prototypes = assembly.choose_prototypes(config, device=machine.device, precision=machine.precision)

    def show_facts(start_step: int) -> None:
        facts = startup_facts(
            config,
            networks,
            device=machine.device,
            precision=machine.precision,
            prototypes=prototypes,
            data=describe(source),
            num_samples=len(source),
            start_step=start_step,
        )
        print_facts(console, "franca pretrain", facts)
        for notice in notices(config):
            console.print(f"note: {notice}")

    if dry_run:
        check_run_folder(config, fresh=fresh)
        show_facts(0)
        return Outcome.PLANNED
    folder, changes = open_run_folder(config, fresh=fresh)
    try:
        for change in changes:
            console.print(f"note: changed since the run began: {change}")
        for difference in differences(record, source) if record else ():
            console.print(f"note: {difference}")
        found = checkpoint.complete_checkpoints(folder.checkpoints)
        if found and found[-1][0] >= config.train.steps:
            console.print(f"{folder.path} is finished: {found[-1][0]:,} steps. Start anew with --fresh.")
            return Outcome.FINISHED
        show_facts(found[-1][0] if found else 0)
        optimizer, progress = _start_or_resume(config, machine, networks, folder, console)
        if record is None:
            write_record(folder.path / DATA_RECORD, source)
        folder.describe(config, command, f"{machine.device}, {machine.precision}")
        if progress.step == 0:
            assembly.build_export(config, networks)(folder.exports / f"teacher_{step_name(0)}.safetensors", 0)
        _speed_up(config, networks, prototypes.backend)
        return _train(config, machine, data, networks, optimizer, progress, folder, console)
    finally:
        folder.close()


def resolve_machine(config: Config) -> Machine:
    """The device and precision of this start.

    Raises:
        ConfigError: the machine lacks the device, or the mode is not supported.
    """
    device = resolve_device(config.performance.device)
    precision = resolve_precision(config.performance.precision, device)
    if precision == "fp16":
        raise ConfigError("performance.precision=fp16 is not supported in training; choose auto, bf16 or fp32")
    if config.performance.parallel not in ("auto", "none"):
        raise ConfigError(
            f"performance.parallel={config.performance.parallel} is not supported yet; choose auto or none (one rank)"
        )
    return Machine(device, precision)


def notices(config: Config) -> list[str]:
    """What is allowed but may not be meant."""
    found = []
    if config.objective.koleo_weight > 0 and derived.koleo_group_size(config) < 2:
        found.append(f"KoLeo is off: no group of 2 to 32 images divides train.global_batch={config.train.global_batch}")
    if config.optim.warmup_steps >= config.train.steps:
        found.append(
            f"optim.warmup_steps={config.optim.warmup_steps:,}: the warm-up is not over when the run ends after "
            f"{config.train.steps:,} steps"
        )
    return found


def _train(
    config: Config,
    machine: Machine,
    data: PretrainingData,
    networks: StudentTeacher,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    folder: RunFolder,
    console: Console,
) -> Outcome:
    if progress.num_samples not in (0, data.num_samples):
        console.print(
            f"note: the data changed from {progress.num_samples:,} to {data.num_samples:,} samples; from here on the "
            "sample order is that of the new data"
        )
    progress.num_samples = data.num_samples
    accumulation = config.train.global_batch // derived.micro_batch(config)
    workers = default_workers() if config.performance.workers is None else config.performance.workers
    loader = make_loader(
        data,
        start=progress.step * accumulation,
        stop=config.train.steps * accumulation,
        workers=workers,
        device=machine.device,
        augment_on=config.performance.augment_on,
    )
    counting = CountSamples()
    advice = advice_on_data_wait(
        workers=workers,
        cores=_usable_cores(),
        on_accelerator=machine.device.type != "cpu",
        augment_on=config.performance.augment_on,
        kind=data.kind,
    )
    waiting = AdviseOnDataWait(console.print, advice)
    display = Display(console, start_step=progress.step, num_steps=config.train.steps)
    with stop_on_signal() as should_stop, closing(loader), display:
        try:
            finished = train(
                networks,
                assembly.build_objective(config, precision=machine.precision),
                optimizer,
                loader,
                assembly.build_schedule(config),
                clip=Clip(config.optim.clip_norm, per_part=config.optim.clip_per_part),
                progress=progress,
                accumulation=accumulation,
                device=machine.device,
                hooks=[counting, *_hooks(config, networks, optimizer, folder, display), waiting],
                should_stop=should_stop,
            )
        except DataError:  # raised between steps: weights and step agree, and the work is worth keeping
            checkpoint.save(folder.checkpoints, networks, optimizer, progress)
            raise
    console.print(_closing_line(progress, folder, counting.bad_places, finished=finished))
    return Outcome.FINISHED if finished else Outcome.STOPPED


def _start_or_resume(
    config: Config, machine: Machine, networks: StudentTeacher, folder: RunFolder, console: Console
) -> tuple[torch.optim.Optimizer, Progress]:
    """Weights and optimizer from the newest complete checkpoint, or new ones as ``init`` says."""
    found = checkpoint.complete_checkpoints(folder.checkpoints)
    if found:
        networks.materialize(machine.device)
        optimizer = assembly.build_optimizer(config, networks)
        progress = checkpoint.load(found[-1][1], networks, optimizer)
        console.print(f"resuming {found[-1][1]}: student, teacher, heads, optimizer, data position, counts")
    else:
        console.print(f"weights: {initial_weights.initialize(networks, config, machine.device)}")
        optimizer, progress = assembly.build_optimizer(config, networks), Progress()
    folder.cut_metrics(progress.step)
    return optimizer, progress


def _speed_up(config: Config, networks: StudentTeacher, backend: Backend) -> None:
    """Choose kernels; nothing here changes names or, beyond rounding, results."""
    for network in (networks.student, networks.teacher):
        set_attention(network.backbone, config.performance.attention)
        set_backend(network, backend)
        if config.performance.compile:
            for block in network.backbone.blocks:
                block.compile()


def default_workers() -> int:
    """Data worker processes where none are asked for: one less than the cores, between 1 and 8."""
    return min(8, max(1, _usable_cores() - 1))


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _hooks(
    config: Config,
    networks: StudentTeacher,
    optimizer: torch.optim.Optimizer,
    folder: RunFolder,
    display: Display,
) -> list[Hook]:
    """What happens after the counting, in this order: a line is logged before the checkpoint that covers it."""
    run = config.run
    return [
        LogMetrics(folder, every_steps=run.log_every_steps, show=display),
        LimitSkippedSteps(),
        SaveCheckpoints(
            folder,
            networks,
            optimizer,
            every_steps=run.checkpoint_every_steps,
            keep_last=run.keep_last,
            keep_every_steps=run.keep_every_steps,
            export=assembly.build_export(config, networks),
            export_every_steps=run.export_every_steps,
        ),
        LimitBadSamples(config.data.max_bad_fraction),
    ]


def _closing_line(progress: Progress, folder: RunFolder, bad_places: Counter[str], *, finished: bool) -> str:
    skipped, not_finite = (progress.counts.get(name, 0) for name in ("data/skipped", "steps_skipped"))
    bad = f", {skipped:,} unreadable samples replaced ({_reasons(progress, bad_places)})" if skipped else ""
    bad += f", {not_finite:,} steps that were not finite left out" if not_finite else ""
    teacher: Path = folder.exports / "teacher.safetensors"
    if finished:
        return f"finished {progress.step:,} steps{bad}. Teacher: {teacher}"
    return f"stopped after {progress.step:,} steps{bad}; the same command goes on from there"


def _reasons(progress: Progress, bad_places: Counter[str]) -> str:
    """Unreadable samples by reason, and the shards or folders that held most of them since this start."""
    text = ", ".join(f"{name} {number:,}" for name, number in skipped_by_reason(progress.counts).items())
    worst = ", ".join(f"{name} {number:,}" for name, number in bad_places.most_common(NUM_WORST))
    return f"{text}; most in {worst}" if worst else text
