from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from franca.cli.main import main
from franca.config.recipes import load_recipe, to_yaml
from franca.launch.record import JobRecord
from tests.launch.jobs import fake_command


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of 20 steps, of which 5 are done, and no SLURM."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("bash", "cat"):
        (binaries / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(binaries))
    run = tmp_path / "runs/mine"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(to_yaml(load_recipe("tiny")))
    record = {"step": 5, "images_per_second": 2.0, "data/skipped": 3}
    (run / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add_job(run: Path, job_id: str) -> None:
    (run / "jobs").mkdir()
    record = JobRecord(job_id=job_id, executor="slurm", command="x", submitted="2026", host="login", trains=True)
    record.write(run / "jobs")


def test_one_line_says_how_far_the_run_is(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_job(work / "runs/mine", "17")
    fake_command(work / "bin", "squeue", "echo '17|RUNNING|58:00'")
    assert main(["jobs", "runs/mine"]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    for text in ("state", "step", "images/s", "to go", "job ends in", "restarts", "last alarm"):
        assert text in heading
    expected = "runs/mine 17 RUNNING 5/20 2 0:01:00 58:00 0 step 5: 3 unreadable samples replaced"
    assert line.split() == expected.split()


def test_the_last_alarm_is_what_a_real_run_heard(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A student that never learns predicts no better than by chance, and the run says so from its third line on."""
    still = ("optim.learning_rate=0", "optim.min_learning_rate=0", "run.health_every_steps=1", "train.steps=4")
    assert main(["pretrain", "tiny", *still, "run.dir=runs/still", "performance.workers=0"]) == 0
    announced = re.findall(r"alarm (\w+): ", capsys.readouterr().out)
    assert "loss_at_ln_k" in announced
    assert main(["jobs", "runs/still"]) == 0
    _, line = capsys.readouterr().out.splitlines()
    assert "step 1: " in line and line.rstrip().endswith(f"({announced[-1]})")


def test_the_run_folder_suffices_without_slurm(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_job(work / "runs/mine", "17")
    (work / "runs/mine/jobs/events.txt").write_text("2026-01-01T00:00:00Z 17 started restart=0\n")
    assert main(["jobs"]) == 0
    assert "forgotten" in capsys.readouterr().out


def test_nothing_submitted_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    assert "no jobs" in capsys.readouterr().out


def test_what_is_no_run_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "missing"]) == 2
    assert "missing is no run folder" in capsys.readouterr().err
