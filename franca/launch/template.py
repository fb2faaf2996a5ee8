"""The text that is submitted: a pure function of template, profile and job."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

from franca.launch.profile import Profile

LOG_NAMES = {False: "%j_0_log.out", True: "%A_%a_0_log.out"}
"""Log of a job and of an array's element, named as submitit looks for them."""

TICK_SECONDS = 60
"""SLURM may send a signal this much early. One that kills a command so near to its time limit would do it again."""
LOCK_NAME = ".lock"
"""The lock of a run folder; `franca.train.run_folder` has the same name, but needs torch."""
_WAIT = """
# An earlier start may still write, on a node that SLURM has given up: wait until it lets go of the run.
if [ -e {lock} ]; then flock --wait 600 {lock} true; fi
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, or one array of jobs."""

    name: str
    """As it appears in the queue."""
    command: tuple[str, ...]
    """The words after ``franca``."""
    run: Path
    """The run folder: logs go to ``jobs/`` in it."""
    code: Path
    """The copy of the code that the job runs."""
    directory: Path
    """Where it was submitted: relative paths of the command begin here."""
    python: str
    nodes: int
    gpus_per_node: int
    hours: float
    trains: bool = False
    """Whether it writes checkpoints into the run folder."""
    array: int = 0
    """Elements of an array, each of which gets ``--element N``; 0 is a single job."""
    chain: int = 1
    """Jobs of the same name that are submitted at once and run one after another."""

    @property
    def jobs(self) -> Path:
        """Where scripts, logs and records lie."""
        return self.run / "jobs"

    @property
    def tasks_per_node(self) -> int:
        """One for each GPU; one where there is none."""
        return max(1, self.gpus_per_node)


class ShellTemplate(Template):
    """Bash writes variables with a dollar, so that placeholders are ``@name``."""

    delimiter = "@"


def sbatch_text(template: str, profile: Profile, job: Job) -> str:
    """The batch script.

    Args:
        template: Text of ``slurm/job.sbatch``.
        profile: What the cluster wants to be told.
        job: What to run.
    """
    run = shlex.quote(str(job.run))
    return ShellTemplate(template).substitute(
        directives="\n".join(f"#SBATCH {option}" for option in sbatch_options(profile, job)),
        run=job.run,
        events=shlex.quote(str(job.jobs / "events.txt")),
        saved=f"{run}/checkpoints/step_*[1-9]*/COMPLETE" if job.trains else "/dev/null",
        wait=_WAIT.format(lock=f"{run}/{LOCK_NAME}") if job.trains else "",
        environment="".join(f"\n{line}" for line in (*profile.environment, "")),
        code=shlex.quote(str(job.code)),
        time_limit=60 * _minutes(job) - profile.grace_seconds - TICK_SECONDS,
        requeue=str(profile.requeue).lower(),
        srun=shlex.join(_srun_options(profile)),
        command=_command(job),
    )


def sbatch_options(profile: Profile, job: Job) -> list[str]:
    """Options of sbatch, one a line; those of the profile's ``sbatch`` come last and win."""
    given: dict[str, str | int | None] = {
        "job-name": job.name,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "nodes": job.nodes,
        "ntasks-per-node": job.tasks_per_node,
        **_gpus(profile, job),
        "cpus-per-task": profile.cpus_per_task,
        "mem": f"{profile.memory_per_task_gb * job.tasks_per_node}G" if profile.memory_per_task_gb else None,
        "time": _minutes(job),
        "signal": f"{profile.signal}@{profile.grace_seconds}",
        "chdir": str(job.directory),
        "output": str(job.jobs / LOG_NAMES[job.array > 0]),
        "open-mode": "append",
        "array": f"0-{job.array - 1}" if job.array else None,
        "dependency": "singleton" if job.chain > 1 else None,
    }
    flags = ["--requeue" if profile.requeue else "--no-requeue"] + ["--exclusive"] * profile.exclusive
    options = [f"--{name}={shlex.quote(str(value))}" for name, value in given.items() if value is not None]
    return [*options, *flags, *profile.sbatch]


def _minutes(job: Job) -> int:
    """Time limit, in SLURM's unit."""
    return max(1, math.ceil(60 * job.hours))


def _gpus(profile: Profile, job: Job) -> dict[str, str | int | None]:
    if not job.gpus_per_node:
        return {}
    if profile.gres is None:
        return {"gpus-per-node": job.gpus_per_node}
    return {"gres": profile.gres.replace("{gpus}", str(job.gpus_per_node))}


def _srun_options(profile: Profile) -> list[str]:
    """Lines labelled with their rank. When a task ends, the others get as long as a checkpoint may take."""
    cpus = [f"--cpus-per-task={profile.cpus_per_task}"] if profile.cpus_per_task else []  # not passed on by newer SLURM
    return ["--label", f"--wait={profile.grace_seconds}", *cpus, *profile.srun]


def _command(job: Job) -> str:
    words = shlex.join([job.python, str(job.code), *job.command])
    return f'{words} --element "$SLURM_ARRAY_TASK_ID"' if job.array else words
