"""The same jobs without a cluster: in the background of this machine, by submitit's local executor."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from submitit.local.local import LocalExecutor

from franca.errors import ConfigError
from franca.launch.profile import Profile
from franca.launch.template import Job, ShellTemplate

_SCRIPT = """\
#!/bin/bash
cd @directory || exit 1
@environment
export PYTHONPATH=@code${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
note() { [ "$SUBMITIT_LOCAL_GLOBALID" != 0 ] || echo "$(date -u +%FT%TZ) $SUBMITIT_LOCAL_JOB_ID $*" >> @events; }
trap 'asked=1; kill -TERM "$task" 2>/dev/null' TERM # who asks for a stop means it; the time limit goes on

for ((restart = 0; ; restart++)); do
    @ranks
    note "started restart=$restart nodes=$(hostname)"
    timeout --foreground --preserve-status --signal=@signal --kill-after=@grace @seconds @command &
    task=$!
    while kill -0 $task 2>/dev/null; do wait $task; done # a signal ends a wait, not the task
    wait $task
    code=$?
    note "ended code=$code"
    if [ $code != 75 ]; then exit $code; fi
    if [ -n "$asked" ] || ! @requeue; then
        note "unfinished: the next start goes on"
        exit $code
    fi
    note "requeued"
done
"""
_RANKS = """\
export RANK=$SUBMITIT_LOCAL_GLOBALID WORLD_SIZE=$SUBMITIT_LOCAL_NTASKS
    export LOCAL_RANK=$RANK LOCAL_WORLD_SIZE=$WORLD_SIZE MASTER_ADDR=127.0.0.1
    export MASTER_PORT=$((15000 + (SUBMITIT_LOCAL_JOB_ID + restart) % 15000)) # one that the last start did not have"""
_FOR_EVER_MIN = 60 * 24 * 3650
"""Time limit told to submitit, which knows of few restarts: the script keeps the one of a start."""


def local_text(profile: Profile, job: Job) -> str:
    """The script of one task: starts the command, and again after a time limit, until it is done."""
    return ShellTemplate(_SCRIPT).substitute(
        directory=shlex.quote(str(job.directory)),
        environment="\n".join(profile.environment),
        code=shlex.quote(str(job.code)),
        events=shlex.quote(str(job.jobs / "events.txt")),
        ranks=_RANKS if job.tasks_per_node > 1 else ":",
        signal=profile.signal,
        grace=profile.grace_seconds,
        seconds=round(3600 * job.hours) - profile.grace_seconds,
        requeue=str(profile.requeue).lower(),
        command=shlex.join([job.python, str(job.code), *job.command]),
    )


def check_local(job: Job) -> None:
    """Raise what a machine of its own cannot do.

    Raises:
        ConfigError: several nodes, or a chain; or this machine cannot stop a start at its time limit.
    """
    if job.nodes > 1:
        raise ConfigError(f"--nodes {job.nodes}: the executor local has this machine alone; leave it out")
    if job.chain > 1:
        raise ConfigError(f"--chain {job.chain}: the executor local has no queue; leave it out")
    if shutil.which("timeout") is None:
        raise ConfigError("the executor local needs the program timeout, which is not found: install GNU coreutils")


def submit_local(text: str, job: Job) -> str:
    """Start a job in the background; returns its id, which is the process id of the one that watches over it.

    Raises:
        ConfigError: ``CUDA_VISIBLE_DEVICES`` shows fewer GPUs than the job asks for.
    """
    gpus = visible_gpus(os.environ, job.gpus_per_node)
    script = job.jobs / f"local_{hashlib.sha256(text.encode()).hexdigest()[:8]}.sh"
    script.write_text(text, encoding="utf-8")
    executor = LocalExecutor(folder=job.jobs)
    executor.update_parameters(
        tasks_per_node=job.tasks_per_node,
        gpus_per_node=job.gpus_per_node,
        visible_gpus=gpus,
        timeout_min=_FOR_EVER_MIN,
        stderr_to_stdout=True,
    )
    with _no_streams():
        return executor._submit_command(shlex.join(["bash", str(script)])).job_id


def visible_gpus(environment: Mapping[str, str], wanted: int) -> list[int]:
    """GPUs that a job may take: those that ``CUDA_VISIBLE_DEVICES`` shows, else the first ones.

    Raises:
        ConfigError: it shows fewer than ``wanted``, or names them otherwise than by number.
    """
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    if shown is None or not wanted:
        return list(range(wanted))
    names = [name.strip() for name in shown.split(",") if name.strip()]
    if len(names) < wanted or not all(name.isdecimal() for name in names):
        raise ConfigError(
            f"CUDA_VISIBLE_DEVICES={shown}: expected the numbers of at least {wanted} GPUs, as in "
            f"{','.join(map(str, range(wanted)))}; set it so, unset it, or ask for fewer with --gpus-per-node"
        )
    return [int(name) for name in names[:wanted]]


def is_running(job_id: str, host: str) -> bool:
    """Whether a local job's watching process lives; that of another machine cannot be seen, and counts as ended."""
    if host != socket.gethostname():
        return False
    listing = subprocess.run(["ps", "-p", job_id, "-o", "args="], capture_output=True, text=True, check=False)
    return "submitit.local" in listing.stdout


@contextmanager
def _no_streams() -> Iterator[None]:
    """What is started inside inherits none of our streams: it would hold a pipe open as long as the job lives."""
    kept = [os.dup(stream) for stream in range(3)]
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    try:
        yield
    finally:
        for stream, copy in enumerate(kept):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nothing)
