"""The same jobs without a cluster: in the background of this machine, by submitit's local executor."""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from submitit.local.local import LocalExecutor

from franca.errors import ConfigError
from franca.launch.profile import Profile
from franca.launch.template import Job

_RANKS = """\
export RANK=$SUBMITIT_LOCAL_GLOBALID WORLD_SIZE=$SUBMITIT_LOCAL_NTASKS
export LOCAL_RANK=$SUBMITIT_LOCAL_LOCALID LOCAL_WORLD_SIZE=$SUBMITIT_LOCAL_NTASKS
export MASTER_ADDR=127.0.0.1 MASTER_PORT=$((15000 + SUBMITIT_LOCAL_JOB_ID % 15000))
"""


def local_text(profile: Profile, job: Job) -> str:
    """The script of one task; it becomes the command, so that signals reach that."""
    ranks = _RANKS if job.tasks_per_node > 1 else ""
    environment = "".join(line + "\n" for line in profile.environment)
    note = '"$(date -u +%FT%TZ) $SUBMITIT_LOCAL_JOB_ID started restart=0 nodes=$(hostname)"'
    return f"""\
#!/bin/bash
cd {shlex.quote(str(job.directory))} || exit 1
{environment}export PYTHONPATH={shlex.quote(str(job.code))}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONUNBUFFERED=1
{ranks}if [ "$SUBMITIT_LOCAL_GLOBALID" = 0 ]; then
    echo {note} >> {shlex.quote(str(job.jobs / "events.txt"))}
fi
exec {shlex.join([job.python, str(job.code), *job.command])}
"""


def check_local(profile: Profile, job: Job) -> None:
    """Raise what a machine of its own cannot do.

    Raises:
        ConfigError: several nodes, or a chain.
    """
    if job.nodes > 1:
        raise ConfigError(f"--nodes {job.nodes}: the executor local has this machine alone; leave it out")
    if job.chain > 1:
        raise ConfigError(f"--chain {job.chain}: the executor local has no queue; leave it out")


def submit_local(text: str, profile: Profile, job: Job) -> str:
    """Start a job in the background; returns its id, which is the process id of the one that watches over it."""
    script = job.jobs / f"local_{hashlib.sha256(text.encode()).hexdigest()[:8]}.sh"
    script.write_text(text, encoding="utf-8")
    executor = LocalExecutor(folder=job.jobs)
    executor.update_parameters(
        tasks_per_node=job.tasks_per_node,
        gpus_per_node=job.gpus_per_node,
        timeout_min=60 * job.hours,
        signal_delay_s=profile.grace_seconds,
        stderr_to_stdout=True,
    )
    with _no_streams():
        return executor._submit_command(shlex.join(["bash", str(script)])).job_id


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
