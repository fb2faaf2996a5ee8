from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from franca.errors import ConfigError
from franca.launch.local import check_local, is_running, local_text, submit_local, visible_gpus
from franca.launch.logs import log_paths
from franca.launch.profile import Profile
from franca.launch.record import read_events
from franca.launch.template import Job
from tests.launch.jobs import make_job

PROFILE = Profile(executor="local", environment=["export MINE=1"])


def local_job(folder: Path, code: str, **changes: object) -> Job:
    """A job whose code is this text, in a folder whose name has a space."""
    job = make_job(folder / "a folder", nodes=1, python=sys.executable, command=("one", "two words"), **changes)
    job.jobs.mkdir(parents=True)
    job.code.mkdir()
    (job.code / "__main__.py").write_text(code)
    return job


def wait_for_end(job_id: str) -> None:
    deadline = time.monotonic() + 180  # the machine may be busy
    while is_running(job_id, socket.gethostname()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_tasks_get_their_ranks_and_the_log_what_they_say(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "names = 'RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MINE CUDA_VISIBLE_DEVICES'.split()\n"
        "print([os.environ[name] for name in names], os.getcwd(), sys.argv[1:])\n"
    )
    job = local_job(tmp_path, code, gpus_per_node=2)
    job_id = submit_local(local_text(PROFILE, job), job)
    wait_for_end(job_id)
    logs = [path.read_text().strip() for path in log_paths(job.run, job_id)]
    assert logs == [
        f"{[str(rank), '2', str(rank), '2', '1', '0,1']} {job.directory} ['one', 'two words']" for rank in range(2)
    ]
    started, ended = read_events(job.run)
    assert (started.job_id, started.kind, ended.facts) == (job_id, "started", {"code": "0"})


def test_a_single_task_is_no_group(tmp_path: Path) -> None:
    assert "WORLD_SIZE" not in local_text(PROFILE, make_job(tmp_path, gpus_per_node=1))


def test_a_stop_reaches_the_command(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('asked to stop', flush=True), sys.exit(75)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    job = local_job(tmp_path, code, gpus_per_node=0)
    job_id = submit_local(local_text(PROFILE, job), job)
    log = job.jobs / f"{job_id}_0_log.out"
    deadline = time.monotonic() + 60
    while not log.exists() or "ready" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert is_running(job_id, socket.gethostname())
    os.kill(int(job_id), signal.SIGTERM)
    wait_for_end(job_id)
    assert log.read_text() == "ready\nasked to stop\n"
    assert [event.kind for event in read_events(job.run)] == ["started", "ended", "unfinished"]


SAVE_WHEN_ASKED = """\
import os, pathlib, signal, sys, time
def save(number, _):
    starts = len(pathlib.Path("starts").read_text())
    print(f"start {starts}: signal {signal.Signals(number).name}, port {os.environ['MASTER_PORT']}", flush=True)
    sys.exit(75 if starts < 3 else 0)
signal.signal(signal.SIGUSR1, save)
if os.environ["RANK"] == "0":
    with open("starts", "a") as file:
        file.write("x")
time.sleep(60)
"""


def test_a_start_ends_at_its_time_limit_and_the_next_goes_on(tmp_path: Path) -> None:
    """Two ranks, with a new port for every start."""
    profile = Profile(executor="local", signal="USR1", grace_seconds=6)
    job = local_job(tmp_path, SAVE_WHEN_ASKED, gpus_per_node=2, hours=8 / 3600)
    job_id = submit_local(local_text(profile, job), job)
    wait_for_end(job_id)
    for path in log_paths(job.run, job_id):
        ports = [15000 + (int(job_id) + restart) % 15000 for restart in range(3)]
        assert path.read_text().splitlines() == [
            f"start {number}: signal SIGUSR1, port {port}" for number, port in enumerate(ports, start=1)
        ]
    events = read_events(job.run)
    assert [event.kind for event in events] == ["started", "ended", "requeued"] * 2 + ["started", "ended"]
    assert events[-2].facts["restart"] == "2" and events[-1].facts == {"code": "0"}


@pytest.mark.parametrize("requeue", [True, False])
def test_without_requeue_and_after_any_other_code_it_ends(requeue: bool, tmp_path: Path) -> None:
    job = local_job(tmp_path, f"import sys; sys.exit({2 if requeue else 75})", gpus_per_node=0)
    job_id = submit_local(local_text(Profile(executor="local", requeue=requeue), job), job)
    wait_for_end(job_id)
    assert [event.kind for event in read_events(job.run)] == ["started", "ended"] + ["unfinished"] * (not requeue)


@pytest.mark.parametrize(
    ("shown", "wanted", "expected"),
    [(None, 2, [0, 1]), ("3, 1,0", 2, [3, 1]), ("", 0, []), ("GPU-7a", 0, [])],
)
def test_a_job_takes_the_gpus_that_are_shown(shown: str | None, wanted: int, expected: list[int]) -> None:
    assert visible_gpus({} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}, wanted) == expected


@pytest.mark.parametrize("shown", ["", "3", "GPU-7a,GPU-7b"])
def test_fewer_gpus_than_asked_for_are_refused(shown: str) -> None:
    with pytest.raises(ConfigError, match="at least 2 GPUs"):
        visible_gpus({"CUDA_VISIBLE_DEVICES": shown}, 2)


def test_jobs_of_other_machines_and_other_processes_are_not_running() -> None:
    assert not is_running(str(os.getpid()), socket.gethostname())
    assert not is_running(str(os.getpid()), "elsewhere")


@pytest.mark.parametrize("changes", [{"nodes": 2}, {"nodes": 1, "chain": 2}])
def test_what_one_machine_cannot_do_is_refused(changes: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="executor local"):
        check_local(make_job(tmp_path, **changes))
