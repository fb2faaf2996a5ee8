"""``franca demo`` and ``franca report``, on a run of two steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from franca.cli import demo
from franca.cli.main import main

SHORT = ("train.steps=2", "train.global_batch=8", "data.synthetic.num_images=64", "data.synthetic.num_val_images=40")


def run_demo(folder: Path, *overrides: str) -> int:
    return main(["demo", f"run.dir={folder}", "performance.workers=0", *SHORT, *overrides])


def test_judges_the_teacher_against_its_first_self_and_fails_without_a_gain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(tmp_path / "run", "optim.learning_rate=0", "optim.min_learning_rate=0") == 1
    output = capsys.readouterr().out
    assert "gain 0.0 points (at least 10 needed)" in output
    page = (tmp_path / "run/report.html").read_text()
    assert "knn top1" in page and "linear top1" in page and page.count("data:image/png") == 3


def test_a_gain_that_is_large_enough_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "NEEDED_GAIN", -1.0)
    assert run_demo(tmp_path / "run") == 0


def test_report_writes_a_page_for_a_run_and_refuses_what_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["pretrain", "tiny", f"run.dir={run}", "train.steps=2", "performance.workers=0"]) == 0
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"{last['loss/total']:.4f}" in page and "2 of 2" in page
    assert main(["report", str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err
