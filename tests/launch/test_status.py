from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from franca.config.recipes import load_recipe, to_yaml
from franca.errors import DataError
from franca.launch import slurm
from franca.launch.record import JobRecord
from franca.launch.slurm import JobState
from franca.launch.status import is_active, known_runs, run_statuses


class Queue:
    """What the cluster would say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states: dict[str, JobState] = {}
        self.scripts = ""
        monkeypatch.setattr(slurm, "job_states", lambda _: self.states)
        monkeypatch.setattr(slurm, "ask", lambda *_: self.scripts)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    return Queue(monkeypatch)


def add_job(run: Path, job_id: str, **changes: Any) -> JobRecord:
    (run / "jobs").mkdir(parents=True, exist_ok=True)
    values = {"executor": "slurm", "command": "x", "submitted": "2026", "host": "login", "trains": True}
    record = JobRecord(job_id=job_id, **(values | changes))
    record.write(run / "jobs")
    return record


def add_events(run: Path, *events: str) -> None:
    (run / "jobs/events.txt").write_text("".join(f"2026-01-01T00:00:00Z {event}\n" for event in events))


def test_a_running_job_has_the_progress_of_its_run(tmp_path: Path, queue: Queue) -> None:
    add_job(tmp_path, "5")
    add_events(tmp_path, "5 started restart=0", "5 ended code=75", "5 started restart=1")
    (tmp_path / "config.yaml").write_text(to_yaml(load_recipe("tiny")))
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 5, "images_per_second": 2.0}) + "\n")
    queue.states = {"5": JobState("RUNNING", "59:00")}
    (status,) = run_statuses(tmp_path)
    assert (status.job_id, status.state, status.time_left, status.restarts) == ("5", "RUNNING", "59:00", 1)
    assert status.progress is not None and status.progress.step == 5


def test_jobs_that_wait_or_run_are_shown_else_the_newest(tmp_path: Path, queue: Queue) -> None:
    for job_id in ("5", "6", "7"):
        add_job(tmp_path, job_id)
    queue.states = {"5": JobState("FAILED"), "6": JobState("RUNNING"), "7": JobState("PENDING")}
    assert [status.job_id for status in run_statuses(tmp_path)] == ["6", "7"]
    queue.states = dict.fromkeys(("5", "6", "7"), JobState("COMPLETED"))
    assert [status.job_id for status in run_statuses(tmp_path)] == ["7"]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (["5 started restart=0", "5 ended code=75", "5 started restart=1", "5 ended code=0"], "COMPLETED"),
        (["5 started restart=0", "5 ended code=1"], "FAILED"),
        (["5_0 ended code=0", "5_1 ended code=2"], "FAILED"),
        (["5 started restart=0", "55 ended code=0"], slurm.FORGOTTEN),
        (["5 started restart=0", "5 ended code=75", "5 unfinished: the next start goes on"], slurm.STOPPED),
        (["5_0 ended code=75", "5_1 ended code=1"], "FAILED"),
    ],
)
@pytest.mark.parametrize("executor", ["slurm", "local"])
def test_the_run_folder_remembers_what_the_cluster_forgot(
    events: list[str], state: str, executor: str, tmp_path: Path, queue: Queue
) -> None:
    add_job(tmp_path, "5", executor=executor)
    add_events(tmp_path, *events)
    (status,) = run_statuses(tmp_path)
    assert status.state == state


def test_a_finished_run_is_completed_whatever_is_forgotten(tmp_path: Path, queue: Queue) -> None:
    add_job(tmp_path, "5", executor="local")
    (tmp_path / "config.yaml").write_text(to_yaml(load_recipe("tiny")))
    for step, state in ((19, slurm.FORGOTTEN), (20, "COMPLETED")):
        (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": step, "images_per_second": 2.0}) + "\n")
        (status,) = run_statuses(tmp_path)
        assert status.state == state


def test_the_elements_of_an_array_are_counted(tmp_path: Path, queue: Queue) -> None:
    add_job(tmp_path, "5", array=3, trains=False)
    queue.states = {"5_0": JobState("COMPLETED"), "5_1": JobState("RUNNING", "1:00"), "5_2": JobState("COMPLETED")}
    (status,) = run_statuses(tmp_path)
    assert (status.state, status.progress) == ("2 COMPLETED, 1 RUNNING", None)


def test_evaluations_of_a_run_stand_beside_it(tmp_path: Path, queue: Queue) -> None:
    """They count for themselves: their starts are no restarts of the training."""
    add_job(tmp_path, "5")
    add_job(tmp_path, "6", array=2, trains=False)
    add_events(tmp_path, "5 started restart=0", "6_0 started restart=0", "6_1 started restart=0")
    queue.states = {"5": JobState("COMPLETED"), "6_0": JobState("RUNNING"), "6_1": JobState("RUNNING")}
    training, array = run_statuses(tmp_path)
    assert (training.job_id, training.restarts, array.job_id, array.restarts) == ("5", 0, "6", 0)
    queue.states = {"5": JobState("COMPLETED"), "6_0": JobState("COMPLETED"), "6_1": JobState("COMPLETED")}
    assert [status.job_id for status in run_statuses(tmp_path)] == ["5"]


def test_a_run_that_was_not_submitted_has_progress_all_the_same(tmp_path: Path, queue: Queue) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(load_recipe("tiny")))
    (status,) = run_statuses(tmp_path)
    assert (status.job_id, status.state) == ("", "not submitted")
    add_job(tmp_path, "5", array=1, trains=False)
    queue.states = {"5_0": JobState("RUNNING")}
    assert [status.state for status in run_statuses(tmp_path)] == ["not submitted", "RUNNING"]
    with pytest.raises(DataError, match="no run folder"):
        run_statuses(tmp_path / "missing")


def test_runs_are_found_in_the_folder_and_in_the_queue(tmp_path: Path, queue: Queue) -> None:
    here, elsewhere = tmp_path / "runs/a", tmp_path / "elsewhere/b c"
    add_job(here, "5")
    add_job(elsewhere, "6")
    (tmp_path / "runs/not_submitted").mkdir()
    queue.scripts = f"{elsewhere}/jobs/.submission_file_1.sh\n/home/me/other.sh\n(null)\n"
    assert known_runs(tmp_path / "runs") == sorted([here, elsewhere])


def test_a_job_is_active_as_long_as_one_element_is(tmp_path: Path, queue: Queue) -> None:
    record = add_job(tmp_path, "5", array=2)
    queue.states = {"5_0": JobState("COMPLETED"), "5_1": JobState("PENDING")}
    assert is_active(record)
    queue.states = {}
    assert not is_active(record)
    assert not is_active(add_job(tmp_path, "1", executor="local"))
