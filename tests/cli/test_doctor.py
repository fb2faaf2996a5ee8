"""``franca doctor``: what it prints is what is here, and a step that fails is an error."""

from __future__ import annotations

from pathlib import Path

import torch

import franca
from franca.cli import doctor
from franca.cli.main import main
from franca.errors import DataError


def test_it_tells_the_machine_and_takes_a_step(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FRANCA_CACHE", str(tmp_path / "not" / "made"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["doctor", "--device", "cpu"]) == 0
    said = "".join(capsys.readouterr().out.split())  # long paths are folded
    assert f"franca{franca.__version__}" in said
    assert torch.__version__ in said
    assert str(tmp_path / "not" / "made") in said
    assert "fine" in said
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", ("torch", "no-such-package"))
    packages = dict(doctor.facts(torch.device("cpu")))["optional packages"]
    assert packages == f"torch {doctor.version('torch')}, no-such-package not installed"


def test_triton_needs_a_gpu() -> None:
    assert "no triton, it " in dict(doctor.facts(torch.device("cpu")))["prototype losses"]


def test_a_step_that_fails_is_told(capsys, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("the disk hums")

    monkeypatch.setattr(doctor, "pretrain", fail)
    assert main(["doctor", "--device", "cpu"]) != 0
    streams = capsys.readouterr()
    assert "the disk hums" in streams.err
    assert "fine" not in streams.out


def test_a_step_that_was_stopped_is_not_fine(capsys, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "pretrain", lambda *_, **__: doctor.Outcome.STOPPED)
    assert main(["doctor", "--device", "cpu"]) == 75
    assert "fine" not in capsys.readouterr().out


def test_a_device_that_is_not_there(capsys) -> None:
    assert main(["doctor", "--device", "cuda:99"]) == 2
    assert "cuda:99" in capsys.readouterr().err
