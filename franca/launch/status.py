"""What is going on in runs: states from the cluster, progress from the run folders."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from franca.errors import STOPPED_EXIT_CODE, DataError
from franca.launch import local, slurm
from franca.launch.progress import Progress, read_progress
from franca.launch.record import Event, JobRecord, read_events, read_records
from franca.launch.slurm import JobState


@dataclass(frozen=True, kw_only=True)
class Status:
    """One job of a run."""

    run: Path
    job_id: str
    """Empty for a run that was not submitted."""
    state: str
    progress: Progress | None = None
    """None for a job that trains nothing, and before the first start."""
    time_left: str = ""
    """Until the time limit, as SLURM writes it."""
    restarts: int = 0
    """Starts after the first."""


def run_statuses(run: Path) -> list[Status]:
    """The run itself, and its other jobs that wait or run.

    Raises:
        DataError: the folder holds neither a run nor jobs.
    """
    records, events = read_records(run), read_events(run)
    ids = [record.job_id for record in records if record.executor == "slurm"]
    states = slurm.job_states(ids)
    statuses = [(record, _states(record, states, events)) for record in records]
    chosen = [pair for pair in statuses if any(state.is_active for state in pair[1])]
    trained = [pair for pair in statuses if pair[0].trains]
    if not any(record.trains for record, _ in chosen):
        chosen = trained[-1:] + (chosen or statuses[-1:] * (not trained))
    found = [_status(run, record, its_states, events) for record, its_states in chosen]
    if not trained and ((run / "config.yaml").is_file() or not found):
        found.insert(0, Status(run=run, job_id="", state="not submitted", progress=read_progress(run)))
    return found


def known_runs(folder: Path) -> list[Path]:
    """Run folders with jobs below ``folder``, and those of my jobs that wait or run."""
    found = {path.parent.resolve() for path in folder.glob("*/jobs") if path.is_dir()}
    return sorted(found | set(_queued_runs()))


def _queued_runs() -> Iterator[Path]:
    """The script of a job of ours lies in ``jobs/`` of its run folder."""
    output = slurm.ask("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%o")
    for line in output.splitlines():
        jobs = Path(line.strip()).parent.resolve()
        if jobs.name == "jobs" and jobs.is_dir():
            yield jobs.parent


def _status(run: Path, record: JobRecord, states: Collection[JobState], events: Collection[Event]) -> Status:
    progress = _progress_of(run) if record.trains else None
    starts = sum(event.kind == "started" and slurm.of_job(event.job_id, record.job_id) for event in events)
    state = _summary(states)
    if state == slurm.FORGOTTEN and progress is not None and progress.is_finished:
        state = "COMPLETED"
    left = next((state.time_left for state in states if state.time_left), "")
    return Status(
        run=run,
        job_id=record.job_id,
        state=state,
        progress=progress,
        time_left=left,
        restarts=max(0, starts - max(1, record.array)),
    )


def _progress_of(run: Path) -> Progress | None:
    try:
        return read_progress(run)
    except DataError:  # the job has not started
        return None


def _states(record: JobRecord, states: Mapping[str, JobState], events: Collection[Event]) -> list[JobState]:
    """The states of a job, or of every element of an array."""
    if record.executor == "local":
        found = [JobState("RUNNING")] if local.is_running(record.job_id, record.host) else []
    else:
        found = [state for name, state in states.items() if slurm.of_job(name, record.job_id)]
    return found or [_remembered(record, events)]


def _remembered(record: JobRecord, events: Collection[Event]) -> JobState:
    """What the run folder knows of a job that the cluster has forgotten, or of a local one that has ended."""
    ends = {
        event.job_id: event.facts["code"]
        for event in events
        if slurm.of_job(event.job_id, record.job_id) and "code" in event.facts
    }
    if not ends:
        return JobState(slurm.FORGOTTEN)
    codes = set(ends.values())
    if codes <= {"0", str(STOPPED_EXIT_CODE)}:
        return JobState("COMPLETED" if codes == {"0"} else slurm.STOPPED)
    return JobState("FAILED")


def _summary(states: Collection[JobState]) -> str:
    """``RUNNING``, or ``2 RUNNING, 3 COMPLETED`` of an array."""
    counts = Counter(state.state for state in states)
    if len(states) == 1:
        return next(iter(counts))
    return ", ".join(f"{number} {state}" for state, number in counts.most_common())


def is_active(record: JobRecord) -> bool:
    """Whether a job waits or runs."""
    if record.executor == "local":
        return local.is_running(record.job_id, record.host)
    return any(state.is_active for state in slurm.job_states([record.job_id]).values())
