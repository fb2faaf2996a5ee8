"""``franca pretrain`` as it is typed: exit codes, messages, nothing written where the input is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from franca.cli.main import main


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_trains_into_a_folder_named_after_the_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["pretrain", "tiny", "train.steps=2", "performance.workers=0"]) == 0
    assert (tmp_path / "runs/tiny/exports/teacher.safetensors").is_file()
    assert "finished 2 steps" in capsys.readouterr().out
    recorded = (tmp_path / "runs/tiny/command.txt").read_text()
    assert recorded == "franca pretrain tiny train.steps=2 performance.workers=0\n"


def test_dry_run_leaves_no_trace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["pretrain", "tiny", "--dry-run"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tniy"], ["tniy", "tiny"]),
        (["tiny", "model.pach_size_px=8", "train.steps=many"], ["model.patch_size_px", "train.steps", "many"]),
        (["tiny", "data.train=missing"], ["missing"]),
        (["tiny", "data.train=empty"], ["empty", ".jpg"]),
        (["tiny", "data.train=broken"], ["No readable image", "broken"]),
        (["tiny", "run.dir=taken"], ["taken", "holds no run"]),
        (["tiny", "data.train=~nobody-here/photos"], ["~nobody-here/photos"]),
        (["tiny", "data.train=empty", "data.kind=synthetic"], ["empty is not of kind synthetic"]),
        (["tiny", "run.dir=taken/notes.txt/run"], ["notes.txt"]),
    ],
)
def test_wrong_input_gives_one_message_and_two(
    arguments: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.jpg").write_bytes(b"not a picture")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["pretrain", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "Traceback" not in message
    for text in expected:
        assert text in message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_start_that_fails_does_not_block_the_right_command(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["pretrain", "tiny", "run.dir=run", "train.steps=1", "performance.workers=0"]
    assert main([*arguments, "init.backbone=missing.safetensors"]) == 2
    assert "missing.safetensors" in capsys.readouterr().err
    assert main(arguments) == 0


def test_a_damaged_checkpoint_gives_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["pretrain", "tiny", "run.dir=run", "performance.workers=0", "run.checkpoint_every_steps=1"]
    assert main([*arguments, "train.steps=3"]) == 0
    shutil.rmtree("run/checkpoints/step_00000003")
    (data,) = (tmp_path / "run/checkpoints/step_00000002").glob("*.distcp")
    data.write_bytes(data.read_bytes()[:1000])
    capsys.readouterr()
    assert main([*arguments, "train.steps=3"]) == 2
    message = capsys.readouterr().err
    assert "step_00000002 cannot be read" in message and "--fresh" in message
    assert len(message.splitlines()) == 1
    shutil.move("run/checkpoints/step_00000002", "damaged")
    assert main([*arguments, "train.steps=3"]) == 0
