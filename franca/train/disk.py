"""Whether a run's checkpoints and exports will fit on its disk, asked before it starts."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from franca.config.schema import Config
from franca.errors import ConfigError
from franca.train.memory import FP32, count_parameters, size_text
from franca.train.student_teacher import StudentTeacher


@dataclass(frozen=True)
class DiskNeed:
    """What a run folder holds at its fullest."""

    num_checkpoints: int
    """The newest, those kept for good, and the one being written."""
    checkpoint_bytes: int
    num_exports: int
    """The first and the newest teacher, and those kept for good."""
    export_bytes: int

    @property
    def total_bytes(self) -> int:
        """Checkpoints and exports together."""
        return self.num_checkpoints * self.checkpoint_bytes + self.num_exports * self.export_bytes

    def __str__(self) -> str:
        checkpoints = f"{_times(self.num_checkpoints, 'checkpoint')} of {size_text(self.checkpoint_bytes)}"
        teachers = f"{_times(self.num_exports, 'teacher')} of {size_text(self.export_bytes)}"
        return f"{size_text(self.total_bytes)} at the fullest: {checkpoints}, {teachers}"


def disk_need(config: Config, networks: StudentTeacher) -> DiskNeed:
    """From the numbers of parameters and what ``run`` keeps; logs and pictures are nothing beside it."""
    run, steps = config.run, config.train.steps
    student, teacher = count_parameters(networks.student), count_parameters(networks.teacher)
    written = 1 + -(-steps // run.checkpoint_every_steps)
    for_good = 0
    if run.keep_every_steps:
        for_good = 1 + steps // math.lcm(run.keep_every_steps, run.checkpoint_every_steps)
    return DiskNeed(
        num_checkpoints=min(written, run.keep_last + 1 + for_good),
        checkpoint_bytes=FP32 * (student + teacher) + 2 * FP32 * student,
        num_exports=2 + (steps // run.export_every_steps if run.export_every_steps else 0),
        export_bytes=FP32 * count_parameters(networks.teacher.backbone),
    )


def check_disk(folder: Path, need: DiskNeed) -> None:
    """Refuse a run whose disk will be full before it ends.

    Args:
        folder: Of the run; it need not exist yet. What a run to go on with already holds counts as there.
        need: Of the run.

    Raises:
        ConfigError: there is not enough space.
    """
    held = sum(_size(folder / part) for part in ("checkpoints", "exports"))
    missing = need.total_bytes - held
    free = shutil.disk_usage(nearest_existing(folder)).free
    if missing > free:
        beside = f" beside the {size_text(held)} it holds" if held else ""
        raise ConfigError(
            f"the disk of {folder} has {size_text(free)} free, but the run needs {size_text(missing)}{beside}: {need}. "
            "Free some space, choose another disk with run.dir=…, or keep less: run.keep_last, run.keep_every_steps, "
            "run.export_every_steps"
        )


def nearest_existing(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _times(number: int, what: str) -> str:
    return f"{number:,} {what}" + "s" * (number != 1)
