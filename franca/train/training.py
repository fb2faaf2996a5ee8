"""From a checkpoint to the end of a run, a stop, or an error, going back on the way where it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from franca.config.schema import Config
from franca.data.collate import PretrainingData
from franca.data.loader import Batches, make_loader
from franca.distributed.cores import usable_cores
from franca.distributed.together import on_rank_zero
from franca.errors import DataError, DivergedError, SaveError
from franca.features.settings import FeatureSettings
from franca.train import assembly, checkpoint
from franca.train.alarms import Alarms
from franca.train.checkpoint import Progress
from franca.train.clipping import Clip
from franca.train.cores import default_workers
from franca.train.data_wait import AdviseOnDataWait, advice_on_data_wait
from franca.train.display import Display
from franca.train.go_back import find_way_back, take_way_back
from franca.train.health import MeasureHealth
from franca.train.hooks import CountSamples, LimitBadSamples, LogMetrics, SaveCheckpoints
from franca.train.left_out import LeftOut
from franca.train.loop import Hook, train
from franca.train.machine import Machine
from franca.train.not_finite import LimitNotFinite, RecordNotFinite
from franca.train.online import OnlineEvaluation
from franca.train.run_folder import RunFolder
from franca.train.saver import Saver
from franca.train.student_teacher import StudentTeacher
from franca.train.watch import Watch


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a start of a run works with."""

    config: Config
    machine: Machine
    data: PretrainingData
    networks: StudentTeacher
    optimizer: torch.optim.Optimizer
    folder: RunFolder

    @property
    def workers(self) -> int:
        """Data worker processes of this rank."""
        asked = self.config.performance.workers
        return default_workers(self.machine.ranks.local_world) if asked is None else asked


class Training:
    """One start of a run, made of stretches: one that meets steps that are not finite ends, and another begins earlier.

    Args:
        parts: What it works with.
        progress: Where it begins.
        display: Shows it.
    """

    def __init__(self, parts: Parts, progress: Progress, display: Display) -> None:
        self.parts, self.progress, self.display = parts, progress, display
        self.left_out = on_rank_zero(lambda: LeftOut.read(parts.folder.path))
        self.objective = assembly.build_objective(parts.config, precision=parts.machine.precision)
        self.saver = Saver(
            parts.folder.checkpoints,
            parts.networks,
            parts.optimizer,
            keep_last=parts.config.run.keep_last,
            keep_every_steps=parts.config.run.keep_every_steps,
        )
        self.counting = CountSamples()
        self._last_hooks = [*_online_evaluation(parts, display.say), _advise_on_data_wait(parts, display.say)]

    def run(self, should_stop: Callable[[], bool]) -> bool:
        """Train on to the end or a stop; returns whether it is the end.

        Raises:
            FrancaError: data, the disk or steps that are not finite end the run. After bad data its work is saved.
        """
        while True:
            try:
                return self._stretch(should_stop)
            except DataError:  # raised between steps, by all ranks: weights and step agree; the work is worth keeping
                self._save_if_possible()
                raise
            except DivergedError:
                if not self._goes_back():
                    raise

    def close(self) -> None:
        """Let the checkpoint that is being written come to its end."""
        self.saver.close()

    def _stretch(self, should_stop: Callable[[], bool]) -> bool:
        """From where it stands to the end of the run, or of this stretch of it."""
        config, machine = self.parts.config, self.parts.machine
        if self.left_out.ranges:
            self.progress.counts["batches_left_out"] = self.left_out.num_batches
        with closing(self._batches()) as batches:
            return train(
                self.parts.networks,
                self.objective,
                self.parts.optimizer,
                batches,
                assembly.build_schedule(config),
                clip=Clip(config.optim.clip_norm, per_part=config.optim.clip_per_part),
                progress=self.progress,
                accumulation=machine.share.accumulation,
                device=machine.device,
                hooks=[self.counting, *self._hooks(), *self._last_hooks],
                should_stop=should_stop,
            )

    def _batches(self) -> Batches:
        """This rank's micro-batches from here on."""
        config, share, left_out = self.parts.config, self.parts.machine.share, self.left_out
        return make_loader(
            self.parts.data,
            start=self.progress.step * share.accumulation,
            stop=config.train.steps * share.accumulation,
            workers=self.parts.workers,
            device=self.parts.machine.device,
            item=lambda index: share.item(left_out.index_of(index, share.accumulation)),
            augment_on=config.performance.augment_on,
        )

    def _hooks(self) -> list[Hook]:
        """What happens after the counting, in this order: a line is logged before the checkpoint that covers it."""
        config, folder, say = self.parts.config, self.parts.folder, self.display.say
        run = config.run
        measure = MeasureHealth(
            self.parts.networks,
            self.objective,
            self.parts.optimizer,
            every_steps=run.health_every_steps,
            log_every_steps=run.log_every_steps,
        )
        watch = Watch(measure, Alarms(config.optim.warmup_steps), folder.read_metrics(), say)
        not_finite = RecordNotFinite(folder.path, say)
        return [
            not_finite,
            LogMetrics(folder, every_steps=run.log_every_steps, watch=watch, show=self.display, say=say),
            LimitNotFinite(config.train.max_steps_not_finite, self.left_out, not_finite.path),
            SaveCheckpoints(
                folder,
                self.saver,
                every_steps=run.checkpoint_every_steps,
                export=assembly.build_export(config, self.parts.networks),
                export_every_steps=run.export_every_steps,
                say=say,
            ),
            LimitBadSamples(config.data.max_bad_fraction),
        ]

    def _goes_back(self) -> bool:
        """Go back to a checkpoint from before what was not finite; False where there is no way back."""
        folder = self.parts.folder
        self._attempt(self.saver.wait)
        way = find_way_back(folder.checkpoints, self.progress, self.left_out)
        if way is None:
            return False
        self.display.say(f"note: {way.explain(self.progress)}")
        take_way_back(folder.path, way)
        self.left_out = way.left_out
        self.progress = checkpoint.load(way.path, self.parts.networks, self.parts.optimizer)
        folder.cut_metrics(self.progress.step)
        return True

    def _save_if_possible(self) -> None:
        """Save while something else ends the run, and is to be told of."""
        for write in (self.saver.wait, lambda: self.saver.save(self.progress), self.saver.wait):
            self._attempt(write)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except SaveError as error:
            self.display.say(f"alarm: {error}")


def _advise_on_data_wait(parts: Parts, say: Callable[[str], None]) -> Hook:
    advice = advice_on_data_wait(
        workers=parts.workers,
        cores=usable_cores(),
        on_accelerator=parts.machine.device.type != "cpu",
        augment_on=parts.config.performance.augment_on,
        kind=parts.data.kind,
    )
    return AdviseOnDataWait(say, advice)


def _online_evaluation(parts: Parts, say: Callable[[str], None]) -> list[Hook]:
    """The evaluation on the way, where one is asked for."""
    config = parts.config
    if config.evaluation.online is None:
        return []

    def record(line: Mapping[str, Any]) -> None:
        try:
            parts.folder.append_evaluation(line)
        except OSError as error:  # a full disk; training goes on, as it does where a checkpoint cannot be written
            say(f"alarm: step {line['step']}: {error}. Its line of evaluations is written with the next one.")

    return [
        OnlineEvaluation(
            config.evaluation,
            parts.data.source,
            synthetic=config.data.synthetic,
            teacher=assembly.build_export(config, parts.networks).backbone,
            features=FeatureSettings(device=config.performance.device, workers=parts.workers, cache=False),
            ranks=parts.machine.ranks,
            record=record,
            say=say,
        )
    ]
