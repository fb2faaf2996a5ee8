"""The disk: what a run will need of it, against what it has."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from franca.config.recipes import load_recipe
from franca.errors import ConfigError
from franca.train.assembly import build_networks
from franca.train.disk import DiskNeed, check_disk, disk_need
from tests.train.test_pretrain import run_tiny

Usage = namedtuple("Usage", ["total", "used", "free"])


def need(*overrides: str) -> DiskNeed:
    config = load_recipe("tiny", ["train.steps=100", "run.checkpoint_every_steps=10", *overrides])
    return disk_need(config, build_networks(config))


def give(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free, 0, free))


@pytest.mark.parametrize(
    ("overrides", "checkpoints", "teachers"),
    [
        (("run.keep_last=2",), 3, 2),  # and the one being written
        (("run.keep_last=2", "run.keep_every_steps=50"), 6, 2),  # 0, 50 and 100
        (("run.keep_last=2", "run.keep_every_steps=25"), 6, 2),  # 25 and 75 are never checkpoints
        (("run.keep_last=2", "run.export_every_steps=20"), 3, 7),
        (("run.keep_last=9", "train.steps=15"), 3, 2),  # 0, 10 and 15 are all there are
    ],
)
def test_what_is_kept(overrides: tuple[str, ...], checkpoints: int, teachers: int) -> None:
    found = need(*overrides)
    assert (found.num_checkpoints, found.num_exports) == (checkpoints, teachers)


def test_sizes_are_those_on_the_disk(tmp_path: Path) -> None:
    wide = "objective.head_hidden=512"
    run_tiny(tmp_path / "run", wide, "train.steps=1", "run.keep_last=1")
    found = need(wide)
    (saved,) = (tmp_path / "run/checkpoints").iterdir()
    assert sum(file.stat().st_size for file in saved.iterdir()) == pytest.approx(found.checkpoint_bytes, rel=0.05)
    teacher = tmp_path / "run/exports/teacher.safetensors"
    assert teacher.stat().st_size == pytest.approx(found.export_bytes, rel=0.05)


def test_a_disk_that_is_too_small_is_refused_with_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mib = 2**20
    big = DiskNeed(num_checkpoints=3, checkpoint_bytes=100 * mib, num_exports=2, export_bytes=10 * mib)
    give(monkeypatch, 320 * mib)
    check_disk(tmp_path, big)
    give(monkeypatch, 319 * mib)
    with pytest.raises(ConfigError) as caught:
        check_disk(tmp_path / "not/there/yet", big)
    for part in ("has 319.0 MiB free", "needs 320.0 MiB", "3 checkpoints of 100.0 MiB", "2 teachers", "run.keep_last"):
        assert part in str(caught.value)


def test_what_a_run_holds_already_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoints/step_00000001").mkdir(parents=True)
    (tmp_path / "checkpoints/step_00000001/data").write_bytes(b"x" * 1000)
    give(monkeypatch, 600)
    check_disk(tmp_path, DiskNeed(num_checkpoints=2, checkpoint_bytes=800, num_exports=0, export_bytes=0))
    with pytest.raises(ConfigError, match=r"beside the 0\.0 MiB it holds"):
        check_disk(tmp_path, DiskNeed(num_checkpoints=3, checkpoint_bytes=800, num_exports=0, export_bytes=0))


def test_a_run_asks_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, 2**20)
    with pytest.raises(ConfigError, match="free, but the run needs"):
        run_tiny(tmp_path / "run")
    assert not (tmp_path / "run/checkpoints").exists()


def test_a_plan_for_another_machine_may_need_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, 2**20)
    _, printed = run_tiny(tmp_path / "run", dry_run=True)
    assert "note: the run would be refused here: the disk of" in printed
