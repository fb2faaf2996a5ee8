from __future__ import annotations

from pathlib import Path

import pytest

from franca.errors import DataError
from franca.launch.record import Event, JobRecord, read_events, read_records


def record(job_id: str, submitted: str) -> JobRecord:
    return JobRecord(
        job_id=job_id, executor="slurm", command="franca demo", submitted=submitted, host="login", trains=True
    )


def test_records_are_read_back_oldest_first(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    written = [record("99", "2026-01-01T00:00:00"), record("100", "2026-01-01T00:00:00"), record("7", "2026-01-02")]
    for one in reversed(written):
        one.write(jobs)
    assert read_records(tmp_path) == written


def test_a_folder_without_jobs_has_none(tmp_path: Path) -> None:
    assert read_records(tmp_path) == [] and read_events(tmp_path) == []


@pytest.mark.parametrize("text", ["{", '{"job_id": "1"}', "[]"])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/1.json").write_text(text)
    with pytest.raises(DataError, match=r"1\.json is damaged"):
        read_records(tmp_path)


def test_events_are_read_as_the_script_notes_them(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/events.txt").write_text(
        "2026-01-01T00:00:00Z 5 started restart=0 nodes=n[1-2]\n"
        "2026-01-01T01:00:00Z 5 ended code=75\n"
        "2026-01-01T01:00:00Z 5 unfinished: the next start goes on\n"
        "2026-01-01T02:0"
    )
    assert read_events(tmp_path) == [
        Event("2026-01-01T00:00:00Z", "5", "started", {"restart": "0", "nodes": "n[1-2]"}),
        Event("2026-01-01T01:00:00Z", "5", "ended", {"code": "75"}),
        Event("2026-01-01T01:00:00Z", "5", "unfinished", {}),
    ]
