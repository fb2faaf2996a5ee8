"""The run folder: who may write in it, what it says about the run, and the metrics it keeps.

config.yaml        the complete configuration
command.txt        every command that ran here, oldest first
environment.txt    versions and device of the newest start
metrics.jsonl      one line per logging step
evaluations.jsonl  one line per evaluation of the teacher on the way; only where they are asked for
not_finite.jsonl   one line per step that was not finite, with its samples; only where there was one
left_out.json      batches left out since the run went back; only where it did
checkpoints/       step_00001000/, …
exports/           teacher.safetensors, teacher_step_00000000.safetensors, …
"""

from __future__ import annotations

import fcntl
import os
import platform
import socket
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

import torch

import franca
from franca.config.recipes import differences, load_recipe, to_yaml
from franca.config.schema import RESULT_GROUPS, Config
from franca.distributed.together import on_rank_zero
from franca.errors import ConfigError
from franca.train.line_file import LineFile, write_text

LOCK_NAME = ".lock"
BEFORE_THE_RUN = {LOCK_NAME, "code", "jobs"}
"""What a folder may hold before its run begins: the lock, and what a submitted job brings."""
HARMLESS = ("data.max_bad_fraction:",)
"""Options of the result groups that may change in the middle: they only say when to give up."""


class RunFolder:
    """A locked run folder; use `open_run_folder` to get one.

    Only rank 0 holds the lock and writes; the methods of the others do nothing.
    """

    def __init__(self, path: Path, lock: IO[str] | None) -> None:
        self.path = path
        self._lock = lock
        self._metrics = LineFile(path / "metrics.jsonl", writes=lock is not None)
        self._evaluations = LineFile(path / "evaluations.jsonl", writes=lock is not None)
        if lock is not None:
            # A forked data worker would inherit the lock and hold it for a while after this process was killed.
            os.register_at_fork(after_in_child=lock.close)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    @property
    def exports(self) -> Path:
        """Where exported teachers lie."""
        return self.path / "exports"

    @property
    def metrics(self) -> Path:
        """The metrics file."""
        return self._metrics.path

    def describe(self, config: Config, command: str, computes: str = "") -> None:
        """Write down the configuration, this command and the environment; ``computes`` is device and precision."""
        if self._lock is None:
            return
        write_text(self.path / "config.yaml", to_yaml(config))
        with open(self.path / "command.txt", "a", encoding="utf-8") as file:
            file.write(command + "\n")
        write_text(self.path / "environment.txt", environment() + f"computes: {computes}\n")

    def cut_metrics(self, step: int) -> None:
        """Drop what the files say of steps after ``step``, before a resumed run writes on."""
        for file in (self._metrics, self._evaluations):
            file.cut(step)

    def read_metrics(self) -> list[dict[str, float | None]]:
        """The lines of the metrics file so far, on rank 0; the others know of none."""
        return self._metrics.read()

    def append_metrics(self, record: Mapping[str, float]) -> None:
        """Add one line to the metrics; see `LineFile.append`."""
        self._metrics.append(record)

    def append_evaluation(self, record: Mapping[str, float]) -> None:
        """Add one line to the evaluations; see `LineFile.append`."""
        self._evaluations.append(record)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()


def run_path(config: Config) -> Path:
    """Where ``run.dir`` is; a shell leaves a ``~`` in the middle of a word alone."""
    return Path(os.path.abspath(os.path.expanduser(str(config.run.dir))))


def open_run_folder(config: Config, *, fresh: bool = False) -> tuple[RunFolder, list[str]]:
    """Lock ``config.run.dir``, made where it does not exist.

    Args:
        config: The run's configuration.
        fresh: Move what is there aside, to ``<dir>.old-1`` or the next free number.

    Returns:
        The folder, and the options outside the results that changed since its run began, as ``key: old -> new``.

    Raises:
        ConfigError: the folder is in use, holds something else, or holds a run whose results another
            configuration determines. Nothing is written then.
    """
    locks: list[IO[str]] = []

    def claim() -> tuple[Path, list[str]]:
        path, changes, lock = _claim(config, fresh)
        locks.append(lock)
        return path, changes

    path, changes = on_rank_zero(claim)
    return RunFolder(path, locks[0] if locks else None), changes


def _claim(config: Config, fresh: bool) -> tuple[Path, list[str], IO[str]]:
    """The folder, what changed since its run began, and the lock."""
    path, existed = _inspect(config)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
    except OSError as error:
        raise ConfigError(f"cannot write in run.dir={path}: {error.strerror}; choose another with run.dir=…") from None
    if not existed:
        return path, [], lock
    if fresh:
        path.rename(_free_name(path))
        lock.close()
        path.mkdir()
        return path, [], _lock(path)
    try:
        return path, _changes(path, config), lock
    except ConfigError:
        lock.close()
        raise


def check_run_folder(config: Config, *, fresh: bool = False) -> None:
    """Raise what `open_run_folder` would find wrong with the folder, without touching it or asking who is in it."""
    path, existed = _inspect(config)
    if existed and not fresh:
        _changes(path, config)


def _inspect(config: Config) -> tuple[Path, bool]:
    """Where the run folder is, and whether a run is in it."""
    path = run_path(config)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"run.dir={path} is a file; give the path of a folder, new or of a run to go on with")
    existed = path.is_dir() and any(
        entry.name not in BEFORE_THE_RUN and entry.suffix != ".tmp" for entry in path.iterdir()
    )
    if existed and not (path / "config.yaml").is_file():
        raise ConfigError(
            f"run.dir={path} is not empty and holds no run (no config.yaml); choose another folder with run.dir=…"
        )
    return path, existed


def _changes(path: Path, config: Config) -> list[str]:
    """Harmless changes against the run's own configuration; those that change results are refused."""
    before = load_recipe(str(path / "config.yaml"), need_data=False)
    changed = [line for line in differences(before, config, RESULT_GROUPS) if not line.startswith(HARMLESS)]
    if changed:
        raise ConfigError(
            f"{path} holds a run with another configuration:\n  "
            + "\n  ".join(changed)
            + "\nGo on with the old values, choose another folder with run.dir=…, or start anew with --fresh, which "
            "moves the old folder aside."
        )
    return differences(before, config, ("performance",))


def _lock(path: Path) -> IO[str]:
    """An exclusive lock on the folder, held until the file is closed or the process ends."""
    file = open(path / LOCK_NAME, "a+")  # noqa: SIM115 - stays open as long as the run
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise ConfigError(
            f"run.dir={path} is in use by {holder}; wait for it, stop it, or choose another folder with run.dir=…"
        ) from None
    file.truncate(0)
    job = f"SLURM job {os.environ['SLURM_JOB_ID']}, " if "SLURM_JOB_ID" in os.environ else ""
    file.write(f"{job}process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def _free_name(path: Path) -> Path:
    """``path.old-1``, or the next number that is free."""
    number = 1
    while (candidate := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return candidate


def environment() -> str:
    """Versions, machine and time, one a line."""
    facts = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "franca": franca.__version__,
        "torch": torch.__version__,
        "cuda device": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "threads": torch.get_num_threads(),
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items())
