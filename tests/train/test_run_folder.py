"""The run folder: one writer, nothing overwritten, metrics that never repeat a step."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from franca.config.schema import Config, RunConfig, TrainConfig
from franca.errors import ConfigError
from franca.train.run_folder import RunFolder, open_run_folder


def config_for(path: Path, **train: int) -> Config:
    return replace(Config(), run=RunConfig(dir=str(path)), train=TrainConfig(**train))


def started(path: Path) -> RunFolder:
    """A folder in which a run has begun; still locked."""
    config = config_for(path)
    folder, _ = open_run_folder(config)
    folder.describe(config, "franca pretrain x")
    return folder


def test_a_new_folder_is_made_with_its_parents_and_described(tmp_path: Path) -> None:
    folder = started(tmp_path / "a" / "b")
    names = {"config.yaml", "command.txt", "environment.txt"}
    assert names <= {entry.name for entry in folder.path.iterdir()}
    assert (folder.path / "command.txt").read_text() == "franca pretrain x\n"
    folder.close()


def test_a_second_writer_is_kept_out_and_told_who_is_in(tmp_path: Path) -> None:
    folder = started(tmp_path)
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
        open_run_folder(config_for(tmp_path))
    with pytest.raises(ConfigError, match="in use"):
        open_run_folder(config_for(tmp_path), fresh=True)
    folder.close()
    open_run_folder(config_for(tmp_path))[0].close()


def test_a_forked_child_does_not_hold_the_folder(tmp_path: Path) -> None:
    folder = started(tmp_path)
    (parked, end), (born, announce) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.write(announce, b"!")
        os.read(parked, 1)  # lives until the test closes its end
        os._exit(0)
    try:
        os.read(born, 1)
        folder.close()
        open_run_folder(config_for(tmp_path))[0].close()
    finally:
        os.close(end)
        os.waitpid(child, 0)


def test_another_configuration_is_refused_by_key_and_nothing_changes(tmp_path: Path) -> None:
    started(tmp_path).close()
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"train\.seed: 0 -> 1"):
        open_run_folder(config_for(tmp_path, seed=1))
    assert (tmp_path / "config.yaml").read_bytes() == before
    open_run_folder(config_for(tmp_path))[0].close()  # the refusal let go of the lock


def test_performance_may_change_with_a_notice(tmp_path: Path) -> None:
    started(tmp_path).close()
    config = config_for(tmp_path)
    config = replace(config, performance=replace(config.performance, workers=3))
    folder, changes = open_run_folder(config)
    folder.close()
    assert changes == ["performance.workers: null -> 3"]


def test_the_limit_on_bad_samples_may_change(tmp_path: Path) -> None:
    started(tmp_path).close()
    config = config_for(tmp_path)
    open_run_folder(replace(config, data=replace(config.data, max_bad_fraction=0.5)))[0].close()


def test_fresh_moves_the_old_folder_aside_and_never_over_another(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for number in (1, 2):
        started(run).close()
        (run / "mark").write_text(str(number))
        open_run_folder(config_for(run, seed=number), fresh=True)[0].close()
        assert (tmp_path / f"run.old-{number}" / "mark").read_text() == str(number)
        assert not (run / "mark").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="holds no run"):
            open_run_folder(config_for(tmp_path), fresh=fresh)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="is a file"):
        open_run_folder(config_for(tmp_path / "thesis.tex"))


def test_metrics_are_cut_back_to_the_resumed_step(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in range(1, 6):
        folder.append_metrics({"step": step, "loss/total": 1.5})
    with open(folder.metrics, "a") as file:
        file.write('{"step": 6, "loss/to')  # a kill in the middle of a line
    folder.cut_metrics(3)
    folder.append_metrics({"step": 4, "loss/total": float("nan")})
    lines = folder.metrics.read_text().splitlines()
    assert len(lines) == 4 and lines[-1] == '{"step": 4, "loss/total": null}'
    folder.close()
