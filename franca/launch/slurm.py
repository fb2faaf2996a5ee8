"""SLURM: hands jobs over by submitit, and asks for their states with squeue, then sacct where there is one."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from submitit.core.utils import FailedJobError
from submitit.slurm.slurm import SlurmExecutor, SlurmInfoWatcher

from franca.errors import ConfigError

FINISHED_STATES = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}
FORGOTTEN = "forgotten"
"""The state of a job that the cluster no longer knows, where the run folder does not say how it ended."""
STOPPED = "stopped"
"""The state of a job that the cluster no longer knows, and that saved when it was asked to stop: submit it again."""
NO_SLURM = (
    "there is no SLURM on this machine (sbatch is not found). Submit from a login node of the cluster, show the "
    "script with --print, or start the job in the background here with --profile local."
)


@dataclass(frozen=True)
class JobState:
    """What the cluster says about one job, or one element of an array."""

    state: str
    """As SLURM calls it, as in RUNNING."""
    time_left: str = ""
    """Until the time limit of this start; empty where that is not known."""

    @property
    def is_active(self) -> bool:
        """Whether the job runs, or will."""
        return self.state not in FINISHED_STATES | {FORGOTTEN, STOPPED}


class _TextExecutor(SlurmExecutor):
    """submitit's executor, for a script that is already written.

    Its own scripts load a pickle and run that, and a pickle keeps what was true when it was made. So no pickle is
    written, and the job goes on from the run folder alone.
    """

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder=folder)
        self._text = text

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return self._text


def require_slurm() -> None:
    """Raise where there is no SLURM to submit to.

    Raises:
        ConfigError: sbatch or srun is not found.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ConfigError(NO_SLURM)


def submit_text(text: str, jobs: Path) -> str:
    """Submit a batch script; returns the job id. The script is kept as ``jobs/<id>_submission.sh``.

    Raises:
        ConfigError: sbatch refuses it; the message holds sbatch's own words.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):  # submitit prints what it also raises
            return _TextExecutor(jobs, text)._submit_command("").job_id
    except FailedJobError as error:
        for leftover in jobs.glob(".submission_file_*.sh"):
            if not leftover.is_symlink():
                leftover.unlink()
        raise ConfigError(f"sbatch refused the job:\n{error}") from None


def job_states(job_ids: Collection[str]) -> dict[str, JobState]:
    """States by job id; an array has one for each element, as ``1234_0``. What the cluster has forgotten is left out.

    Args:
        job_ids: Ids as sbatch gave them.
    """
    if not job_ids:
        return {}
    found = _squeue(job_ids)
    forgotten = [job_id for job_id in job_ids if not any(of_job(name, job_id) for name in found)]
    return found | _sacct(forgotten)


def of_job(name: str, job_id: str) -> bool:
    """Whether a name that SLURM gives, as ``1234`` or ``1234_0``, means this job or an element of it."""
    return name.split("_")[0] == job_id


def _squeue(job_ids: Collection[str]) -> dict[str, JobState]:
    """What the controller knows: jobs that wait, run, or ended some minutes ago."""
    output = ask("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%L", f"--jobs={','.join(job_ids)}")
    rows = [line.strip().split("|") for line in output.splitlines() if line.count("|") == 2]
    return {name: JobState(state, "" if state in FINISHED_STATES else left) for name, state, left in rows}


def _sacct(job_ids: Collection[str]) -> dict[str, JobState]:
    """What the accounting knows; nothing on a cluster without one."""
    if not job_ids:
        return {}
    output = ask("sacct", "-o", "JobID,State,NodeList", "--parsable2", "-j", ",".join(job_ids))
    # "CANCELLED by 1000" names who did it.
    return {name: JobState(info["State"].split()[0]) for name, info in SlurmInfoWatcher().read_info(output).items()}


def ask(*command: str) -> str:
    """Output of a command of SLURM; empty where it is missing, fails, or knows nothing of what is asked."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""
