from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import franca
from franca.launch.snapshot import Snapshot


def test_a_copy_runs_by_itself_from_anywhere(tmp_path: Path) -> None:
    copy = Snapshot({"config.yaml": "mine"}).write(tmp_path / "code")
    assert (copy / "config.yaml").read_text() == "mine"
    (tmp_path / "franca").mkdir()  # another package of that name where the job runs
    (tmp_path / "franca/__init__.py").write_text("raise SystemExit('the wrong one')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(copy), "config", "show", "tiny"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "global_batch: 8" in done.stdout


def test_equal_content_is_copied_once(tmp_path: Path) -> None:
    first = Snapshot({"config.yaml": "a"}).write(tmp_path)
    (first / "mark").touch()
    assert Snapshot({"config.yaml": "a"}).write(tmp_path) == first and (first / "mark").exists()
    assert Snapshot({"config.yaml": "b"}).write(tmp_path) != first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_names_count_as_well_as_contents(tmp_path: Path) -> None:
    names = {Snapshot(texts).name for texts in ({"a": "bc"}, {"ab": "c"}, {"a": "b", "c": ""})}
    assert len(names) == 3


def test_a_wheel_brings_its_assets_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site/franca"
    (package / "_assets/slurm").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py", "_assets/slurm/job.sbatch"):
        (package / name).write_text(name)
    monkeypatch.setattr(franca, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr("franca.assets._PACKAGE", package)
    monkeypatch.setattr("franca.assets._WHEEL_ASSETS", package / "_assets")
    copy = Snapshot({}).write(tmp_path / "code")
    found = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert found == {"__main__.py", "franca/__init__.py", "franca/__main__.py", "franca/_assets/slurm/job.sbatch"}
