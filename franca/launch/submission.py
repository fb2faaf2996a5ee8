"""From a command to a job: prepares the run folder, copies the code, submits, and writes down what was submitted."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from franca import assets
from franca.errors import ConfigError
from franca.launch import local, slurm
from franca.launch.profile import Profile
from franca.launch.record import JobRecord, read_records
from franca.launch.snapshot import Snapshot
from franca.launch.template import Job, sbatch_text

NOT_IN_LOG_NAMES = "%\\\n"
"""SLURM reads % as a placeholder, takes a backslash away, and ends its options at the end of a line."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be run."""

    words: tuple[str, ...]
    """After ``franca``."""
    run: Path
    """The run folder, absolute."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts that are kept with the code, and whose paths are the command's last words."""
    trains: bool = False
    """Whether it writes checkpoints into the run folder, so that there may be one at a time."""
    array: int = 0
    """Elements of an array; 0 is a single job."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What the command line asks for; None takes the profile's."""

    nodes: int | None = None
    gpus_per_node: int | None = None
    hours: float | None = None
    chain: int = 1


def plan_job(work: Work, size: Size, profile: Profile, snapshot: Snapshot, *, python: str, directory: Path) -> Job:
    """The job that does the work.

    Raises:
        ConfigError: the job would end before its signal could come, or SLURM cannot write the run folder's name.
    """
    hours = profile.hours if size.hours is None else size.hours
    if profile.grace_seconds >= 3600 * hours:
        raise ConfigError(
            f"{hours:g} hours are no longer than the {profile.grace_seconds} seconds that a run has to save "
            "(grace_seconds of the profile); ask for more with --hours"
        )
    if any(character in str(work.run) for character in NOT_IN_LOG_NAMES):
        raise ConfigError(
            f"run.dir={work.run}: SLURM cannot write logs below a folder with % or \\ or a new line in its name; "
            "choose another"
        )
    code = work.run / "code" / snapshot.name
    is_local = profile.executor == "local"
    return Job(
        name=_job_name(work.run, unique=size.chain > 1),
        command=(*work.words, *(str(code / name) for name in work.files)),
        run=work.run,
        code=code,
        directory=directory,
        python=profile.python or python,
        nodes=(1 if is_local else profile.nodes) if size.nodes is None else size.nodes,
        gpus_per_node=profile.gpus_per_node if size.gpus_per_node is None else size.gpus_per_node,
        hours=hours,
        trains=work.trains,
        array=0 if is_local else work.array,  # one machine takes the elements one by one
        chain=size.chain,
    )


def script(profile: Profile, job: Job) -> str:
    """The text that `submit` submits: the same for the same arguments and templates."""
    if profile.executor == "local":
        local.check_local(job)
        return local.local_text(profile, job)
    return sbatch_text(assets.path("slurm", "job.sbatch").read_text(encoding="utf-8"), profile, job)


def submit(text: str, profile: Profile, job: Job, snapshot: Snapshot) -> list[JobRecord]:
    """Copy the code and submit; a chain gives several jobs.

    Raises:
        ConfigError: there is no SLURM, or it refuses the job.
    """
    job.jobs.mkdir(parents=True, exist_ok=True)
    snapshot.write(job.code.parent)
    records = []
    for _ in range(job.chain):
        is_local = profile.executor == "local"
        job_id = local.submit_local(text, job) if is_local else slurm.submit_text(text, job.jobs)
        record = JobRecord(
            job_id=job_id,
            executor=profile.executor,
            command=shlex.join(["franca", *job.command]),
            submitted=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            host=socket.gethostname(),
            trains=job.trains,
            array=job.array,
        )
        record.write(job.jobs)
        records.append(record)
    return records


def refuse_if_in_use(run: Path) -> None:
    """Raise where a job of this run waits or runs already.

    Raises:
        ConfigError: one does; the message names it.
    """
    records = [record for record in read_records(run) if record.trains]
    states = slurm.job_states([record.job_id for record in records if record.executor == "slurm"])
    for record in records:
        mine = [state for name, state in states.items() if slurm.of_job(name, record.job_id) and state.is_active]
        if record.executor == "local" and local.is_running(record.job_id, record.host):
            raise ConfigError(
                f"{run} is in use by local job {record.job_id}; wait for it, or stop it with kill {record.job_id}"
            )
        if record.executor == "slurm" and mine:
            raise ConfigError(
                f"{run} is in use by job {record.job_id} ({mine[0].state}); wait for it, stop it with scancel "
                f"{record.job_id}, or choose another folder with run.dir=…"
            )


def work_folder(words: tuple[str, ...]) -> Path:
    """Where the logs of a command that trains nothing go: to the run that it is about, else to one of its own."""
    for word in words[1:]:
        path = Path(os.path.abspath(os.path.expanduser(word)))
        run = path.parent.parent if path.parent.name == "exports" else path
        if (run / "config.yaml").is_file():
            return run
    return Path(os.path.abspath("runs")) / f"{words[0]}-{_digits(shlex.join(words))}"


def _job_name(run: Path, *, unique: bool) -> str:
    """Jobs of a chain wait for those of the same name, so that theirs has to be no other run's."""
    return f"franca-{run.name}" + (f"-{_digits(str(run))}" if unique else "")


def _digits(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
