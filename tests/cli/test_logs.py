from __future__ import annotations

from pathlib import Path

import pytest

from franca.cli.main import main
from franca.launch.record import JobRecord


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with two jobs that the cluster has forgotten."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    for job_id in ("5", "6"):
        JobRecord(
            job_id=job_id, executor="slurm", command="x", submitted=f"2026-0{job_id}", host="login", trains=True
        ).write(jobs)
        (jobs / f"{job_id}_0_log.out").write_text(f"job {job_id} begins\n0: hello\n1: hello\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_all_jobs_are_told_oldest_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(run)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "---- job 5, submitted 2026-05 ----",
        "     job | job 5 begins",
        "ranks 0-1 | hello",
        "---- job 6, submitted 2026-06 ----",
        "     job | job 6 begins",
        "ranks 0-1 | hello",
    ]


def test_one_job_can_be_chosen(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(run), "--job", "5"]) == 0
    assert capsys.readouterr().out.splitlines() == ["     job | job 5 begins", "ranks 0-1 | hello"]


def test_following_ends_with_the_newest_job(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(run), "-f"]) == 0
    assert capsys.readouterr().out.splitlines() == ["     job | job 6 begins", "ranks 0-1 | hello"]


def test_what_is_not_there_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(run), "--job", "7"]) == 2
    assert "has no job 7; it has 5, 6" in capsys.readouterr().err
    assert main(["logs", str(tmp_path / "missing")]) == 2
    assert "has no jobs" in capsys.readouterr().err
