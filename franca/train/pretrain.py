"""Pretraining from beginning to end: put the parts together, resume where a run exists, train, say what happened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from enum import Enum
from pathlib import Path

import torch
from rich.console import Console

from franca.config import derived
from franca.config.schema import Config
from franca.data.collate import PretrainingData
from franca.data.loader import make_loader
from franca.data.record import differences, read_record, write_record
from franca.data.sources import Source, describe, open_training_source
from franca.distributed.process_group import process_group
from franca.distributed.ranks import resolve_ranks
from franca.distributed.together import on_rank_zero
from franca.errors import ConfigError, DataError, DivergedError, SaveError
from franca.features.settings import FeatureSettings
from franca.layers.attention import set_attention
from franca.objective.backends import Backend, Choice
from franca.objective.pretraining import PretrainingObjective
from franca.objective.prototypes import set_backend
from franca.train import assembly, checkpoint, initial_weights
from franca.train.alarms import Alarms
from franca.train.checkpoint import Progress, step_name
from franca.train.clipping import Clip
from franca.train.compilation import compile_blocks
from franca.train.data_wait import AdviseOnDataWait, advice_on_data_wait
from franca.train.disk import check_disk, disk_need
from franca.train.display import Display
from franca.train.first_checkpoint import save_and_load
from franca.train.go_back import find_way_back, take_way_back
from franca.train.health import MeasureHealth
from franca.train.hooks import (
    CountSamples,
    LimitBadSamples,
    LogMetrics,
    SaveCheckpoints,
    skipped_by_reason,
)
from franca.train.left_out import LeftOut
from franca.train.loop import Hook, stop_on_signal, train
from franca.train.machine import Machine, resolve_machine
from franca.train.not_finite import LimitNotFinite, RecordNotFinite
from franca.train.online import OnlineEvaluation
from franca.train.out_of_memory import Setting, explain_out_of_memory
from franca.train.parallel import parallelize
from franca.train.run_folder import RunFolder, check_run_folder, open_run_folder
from franca.train.saver import Saver
from franca.train.startup import print_facts, startup_facts
from franca.train.student_teacher import StudentTeacher
from franca.train.watch import Watch

DATA_RECORD = "data.json"
NUM_WORST = 3


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
    networks = assembly.build_networks(config)
    machine = resolve_machine(config, networks, ranks)
    record = None if fresh else read_record(Path(str(config.run.dir)) / DATA_RECORD)
    source = open_training_source(config.data, config.performance, record=record)
    # What was left open is settled here, for the run that starts now; the run folder keeps what the user asked for.
    settled = replace(config, performance=replace(config.performance, micro_batch=machine.share.micro_batch))
    data = PretrainingData.from_config(source, settled)

    def show_facts(prototypes: Choice, start_step: int) -> None:
        facts = startup_facts(
            settled,
            networks,
            machine,
            prototypes=prototypes,
            data=describe(source),
            num_samples=len(source),
            start_step=start_step,
        )
        print_facts(console, "franca pretrain", facts)
        for notice in notices(config, machine):
            console.print(f"note: {notice}")

    if dry_run:
        check_run_folder(config, fresh=fresh)
        show_facts(assembly.choose_prototypes(config, machine), 0)
        try:
            check_disk(Path(str(config.run.dir)).expanduser(), disk_need(config, networks))
        except ConfigError as error:  # the plan may be for another machine
            console.print(f"note: the run would be refused here: {error}")
        return Outcome.PLANNED
    with process_group(ranks, machine.device):
        folder, changes = open_run_folder(config, fresh=fresh)
        with closing(folder):
            for change in changes:
                console.print(f"note: changed since the run began: {change}")
            for difference in differences(record, source) if record else ():
                console.print(f"note: {difference}")
            found = on_rank_zero(lambda: checkpoint.complete_checkpoints(folder.checkpoints))
            if found and found[-1][0] >= config.train.steps:
                console.print(f"{folder.path} is finished: {found[-1][0]:,} steps. Start anew with --fresh.")
                return Outcome.FINISHED
            prototypes = assembly.choose_prototypes(config, machine)
            show_facts(prototypes, found[-1][0] if found else 0)
            on_rank_zero(lambda: check_disk(folder.path, disk_need(config, networks)))
            newest = found[-1][1] if found else None
            with explain_out_of_memory(Setting(settled, machine, prototypes.backend), networks):
                optimizer, progress = _start_or_resume(config, machine, networks, newest, console)
                folder.cut_metrics(progress.step)
                if record is None:
                    on_rank_zero(lambda: write_record(folder.path / DATA_RECORD, source))
                folder.describe(config, command, str(machine))
                if newest is None:
                    assembly.build_export(config, networks)(folder.exports / f"teacher_{step_name(0)}.safetensors", 0)
                    console.print(save_and_load(folder.checkpoints, networks, optimizer, progress))
                _speed_up(config, networks, prototypes.backend, console.print)
                return _train(config, machine, data, networks, optimizer, progress, folder, console)


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
    share = machine.share
    workers = config.performance.workers
    workers = default_workers(machine.ranks.local_world) if workers is None else workers
    objective = assembly.build_objective(config, precision=machine.precision)
    left_out = on_rank_zero(lambda: LeftOut.read(folder.path))
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
    online = _online_evaluation(config, machine, data.source, networks, folder, display, workers)
    saver = Saver(
        folder.checkpoints,
        networks,
        optimizer,
        keep_last=config.run.keep_last,
        keep_every_steps=config.run.keep_every_steps,
    )

    def train_on() -> bool:
        """From ``progress`` to the end of the run, or of this stretch of it."""
        if left_out.ranges:
            progress.counts["batches_left_out"] = left_out.num_batches
        loader = make_loader(
            data,
            start=progress.step * share.accumulation,
            stop=config.train.steps * share.accumulation,
            workers=workers,
            device=machine.device,
            item=lambda index: share.item(left_out.index_of(index, share.accumulation)),
            augment_on=config.performance.augment_on,
        )
        with closing(loader):
            return train(
                networks,
                objective,
                optimizer,
                loader,
                assembly.build_schedule(config),
                clip=Clip(config.optim.clip_norm, per_part=config.optim.clip_per_part),
                progress=progress,
                accumulation=share.accumulation,
                device=machine.device,
                hooks=[
                    counting,
                    *_hooks(config, networks, objective, saver, folder, display, left_out),
                    *online,
                    waiting,
                ],
                should_stop=should_stop,
            )

    with stop_on_signal() as should_stop, closing(saver), display:
        finished = None
        while finished is None:
            try:
                finished = train_on()
            except DataError:  # raised between steps, by all ranks: weights and step agree; the work is worth keeping
                _save_if_possible(saver, progress, display.say)
                raise
            except DivergedError:
                _told(saver.wait, display.say)
                way = find_way_back(folder.checkpoints, progress, left_out)
                if way is None:
                    raise
                display.say(f"note: {way.explain(progress)}")
                take_way_back(folder.path, way)
                left_out, progress = way.left_out, checkpoint.load(way.path, networks, optimizer)
                folder.cut_metrics(progress.step)
    console.print(_closing_line(progress, folder, counting.bad_places, finished=finished))
    return Outcome.FINISHED if finished else Outcome.STOPPED


def _save_if_possible(saver: Saver, progress: Progress, say: Callable[[str], None]) -> None:
    """Save while something else ends the run, and is to be told of."""
    for write in (saver.wait, lambda: saver.save(progress), saver.wait):
        _told(write, say)


def _told(write: Callable[[], None], say: Callable[[str], None]) -> None:
    try:
        write()
    except SaveError as error:
        say(f"alarm: {error}")


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


def default_workers(ranks: int = 1) -> int:
    """Data worker processes of a rank where none are asked for: its share of the cores less one, between 1 and 8."""
    return min(8, max(1, _usable_cores() // ranks - 1))


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _hooks(
    config: Config,
    networks: StudentTeacher,
    objective: PretrainingObjective,
    saver: Saver,
    folder: RunFolder,
    display: Display,
    left_out: LeftOut,
) -> list[Hook]:
    """What happens after the counting, in this order: a line is logged before the checkpoint that covers it."""
    run = config.run
    measure = MeasureHealth(
        networks,
        objective,
        saver.optimizer,
        every_steps=run.health_every_steps,
        log_every_steps=run.log_every_steps,
    )
    watch = Watch(measure, Alarms(config.optim.warmup_steps), folder.read_metrics(), display.say)
    not_finite = RecordNotFinite(folder.path, display.say)
    return [
        not_finite,
        LogMetrics(folder, every_steps=run.log_every_steps, watch=watch, show=display, say=display.say),
        LimitNotFinite(config.train.max_steps_not_finite, left_out, not_finite.path),
        SaveCheckpoints(
            folder,
            saver,
            every_steps=run.checkpoint_every_steps,
            export=assembly.build_export(config, networks),
            export_every_steps=run.export_every_steps,
            say=display.say,
        ),
        LimitBadSamples(config.data.max_bad_fraction),
    ]


def _online_evaluation(
    config: Config,
    machine: Machine,
    source: Source,
    networks: StudentTeacher,
    folder: RunFolder,
    display: Display,
    workers: int,
) -> list[Hook]:
    """The evaluation on the way, where one is asked for."""
    if config.evaluation.online is None:
        return []
    features = FeatureSettings(device=config.performance.device, workers=workers, cache=False)
    return [
        OnlineEvaluation(
            config.evaluation,
            source,
            synthetic=config.data.synthetic,
            teacher=assembly.build_export(config, networks).backbone,
            features=features,
            ranks=machine.ranks,
            record=folder.append_evaluation,
            say=display.say,
        )
    ]


def _closing_line(progress: Progress, folder: RunFolder, bad_places: Counter[str], *, finished: bool) -> str:
    skipped, not_finite = (progress.counts.get(name, 0) for name in ("data/skipped", "steps_skipped"))
    bad = f", {skipped:,} unreadable samples replaced ({_reasons(progress, bad_places)})" if skipped else ""
    bad += f", {not_finite:,} steps that were not finite not applied" if not_finite else ""
    teacher: Path = folder.exports / "teacher.safetensors"
    if finished:
        return f"finished {progress.step:,} steps{bad}. Teacher: {teacher}"
    return f"stopped after {progress.step:,} steps{bad}; the same command goes on from there"


def _reasons(progress: Progress, bad_places: Counter[str]) -> str:
    """Unreadable samples by reason, and the shards or folders that held most of them since this start."""
    text = ", ".join(f"{name} {number:,}" for name, number in skipped_by_reason(progress.counts).items())
    worst = ", ".join(f"{name} {number:,}" for name, number in bad_places.most_common(NUM_WORST))
    return f"{text}; most in {worst}" if worst else text
