from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from franca.errors import ConfigError
from franca.launch import local, slurm
from franca.launch.profile import Profile
from franca.launch.record import JobRecord
from franca.launch.slurm import JobState
from franca.launch.snapshot import Snapshot
from franca.launch.submission import Size, Work, plan_job, refuse_if_in_use, script, work_folder
from franca.launch.template import Job


def plan(work: Work, size: Size, profile: Profile) -> Job:
    return plan_job(work, size, profile, Snapshot(work.files), python="/bin/python", directory=Path("/here"))


WORK = Work(words=("pretrain",), run=Path("/data/runs/mine"), files={"config.yaml": "x"}, trains=True)


def test_the_command_line_wins_over_the_profile() -> None:
    profile = Profile(nodes=4, gpus_per_node=8, hours=20, python="/opt/python")
    job = plan(WORK, Size(), profile)
    assert (job.nodes, job.gpus_per_node, job.hours, job.python) == (4, 8, 20, "/opt/python")
    job = plan(WORK, Size(nodes=1, gpus_per_node=0, hours=2), profile)
    assert (job.nodes, job.gpus_per_node, job.hours) == (1, 0, 2)


def test_the_job_trains_from_the_copied_configuration() -> None:
    job = plan(WORK, Size(), Profile())
    assert job.code == Path("/data/runs/mine/code") / Snapshot(WORK.files).name
    assert job.command == ("pretrain", f"{job.code}/config.yaml")
    assert job.python == "/bin/python" and job.directory == Path("/here")


def test_a_chain_has_a_name_that_no_other_run_has() -> None:
    other = Work(words=("pretrain",), run=Path("/other/mine"))
    assert plan(WORK, Size(), Profile()).name == plan(other, Size(), Profile()).name == "franca-mine"
    assert plan(WORK, Size(chain=2), Profile()).name != plan(other, Size(chain=2), Profile()).name


def test_a_machine_of_its_own_takes_elements_one_by_one() -> None:
    work = Work(words=("eval", "knn"), run=Path("/data/mine"), array=3)
    assert plan(work, Size(), Profile()).array == 3
    job = plan(work, Size(), Profile(executor="local", nodes=4))
    assert (job.array, job.nodes) == (0, 1)
    assert "--element" not in script(Profile(executor="local"), job)


@pytest.mark.parametrize(
    ("work", "size", "expected"),
    [
        (WORK, Size(hours=0.03), "no longer than the 120 seconds"),
        (Work(words=("demo",), run=Path("/data/100%/run")), Size(), "choose another"),
        (Work(words=("demo",), run=Path("/data/back\\slash/run")), Size(), "choose another"),
    ],
)
def test_what_cannot_work_is_refused(work: Work, size: Size, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        plan(work, size, Profile())


def record(run: Path, job_id: str, **changes: Any) -> None:
    (run / "jobs").mkdir(exist_ok=True)
    values = {"executor": "slurm", "command": "x", "submitted": "2026", "host": "login", "trains": True}
    JobRecord(job_id=job_id, **(values | changes)).write(run / "jobs")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING"])
def test_a_run_with_a_job_is_refused_and_the_job_named(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "job_states", lambda ids: {"6": JobState(state)} if "6" in ids else {})
    record(tmp_path, "5")
    refuse_if_in_use(tmp_path)
    record(tmp_path, "6", trains=False)
    refuse_if_in_use(tmp_path)  # judging a run does not write into it
    record(tmp_path, "6")
    with pytest.raises(ConfigError, match=rf"in use by job 6 \({state}\)"):
        refuse_if_in_use(tmp_path)


def test_a_run_with_a_local_job_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "is_running", lambda job_id, host: (job_id, host) == ("77", socket.gethostname()))
    record(tmp_path, "78", executor="local", host=socket.gethostname())
    refuse_if_in_use(tmp_path)
    record(tmp_path, "77", executor="local", host=socket.gethostname())
    with pytest.raises(ConfigError, match="local job 77"):
        refuse_if_in_use(tmp_path)


def test_logs_go_to_the_run_that_a_command_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs/mine"
    (run / "exports").mkdir(parents=True)
    (run / "config.yaml").touch()
    assert work_folder(("eval", "knn", "runs/mine", "train=x")) == run
    assert work_folder(("eval", "knn", "runs/mine/exports/teacher.safetensors")) == run
    named = work_folder(("eval", "knn", "franca_vitb14"))
    assert named.parent == tmp_path / "runs" and named.name.startswith("eval-")
    assert work_folder(("eval", "knn", "franca_vits14")) != named
