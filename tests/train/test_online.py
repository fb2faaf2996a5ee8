"""Evaluation of the teacher while it is trained."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from franca.cli.main import main
from franca.errors import STOPPED_EXIT_CODE
from franca.evaluation.neighbours import Bank
from franca.features import extract
from franca.models.hub import load
from tests.distributed.launch import launch

SMALL = ["performance.workers=0", "performance.device=cpu", "run.checkpoint_every_steps=2", "run.export_every_steps=2"]
LABELLED = ["evaluation.online=2", "evaluation.train=synthetic", "evaluation.val=synthetic", "evaluation.k=5"]
DRAWN = ["data.synthetic.num_images=48", "data.synthetic.num_val_images=24", "data.synthetic.size_px=32"]


def pretrain(run: Path, *words: str) -> int:
    return main(["pretrain", "tiny", f"run.dir={run}", "train.steps=4", *SMALL, *DRAWN, *words])


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]


def test_the_numbers_are_those_of_the_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run", *LABELLED) == 0
    found = lines(tmp_path / "run")
    assert [line["step"] for line in found] == [2, 4]
    printed = capsys.readouterr().out
    assert "evaluation of step 4: " in printed and "% of the time" in printed
    words = [f"{role}=synthetic" for role in ("train", "val")] + [word.removeprefix("data.") for word in DRAWN]
    for line, export in zip(found, ["teacher_step_00000002", "teacher"], strict=True):
        out = tmp_path / f"{export}.json"
        model = str(tmp_path / "run" / "exports" / f"{export}.safetensors")
        assert main(["eval", "health,knn", model, *words, "k=5", "prefixes=true", "device=cpu", f"out={out}"]) == 0
        afterwards = {
            f"{result['protocol']}/{name}": value
            for result in json.loads(out.read_text())["results"]
            for name, value in {**result["metrics"], **result.get("numbers", {})}.items()
        }
        assert {name: value for name, value in line.items() if "/" in name} == afterwards


def test_without_labels_it_is_health_alone(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "evaluation.online=3", "evaluation.num_images=20") == 0
    found = lines(tmp_path / "run")
    assert [line["step"] for line in found] == [3, 4]  # and at the end
    assert all(name.startswith("health/") for name in found[0] if "/" in name)
    assert found[0]["health/rankme"] > 0


def test_training_does_not_notice(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "with", *LABELLED) == 0
    assert pretrain(tmp_path / "without") == 0
    with_it, without = (load(tmp_path / name) for name in ("with", "without"))
    for name, tensor in with_it.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[name])


def test_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert pretrain(run, *LABELLED) == 0
    expected = lines(run)
    for newest in sorted((run / "checkpoints").iterdir())[-1:]:
        (newest / "COMPLETE").unlink()
    assert pretrain(run, *LABELLED) == 0
    timeless = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in found] for found in (expected, lines(run))
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluation.online=2", "evaluation.train=synthetic"], "give both, or neither"),
        (["evaluation.train=synthetic", "evaluation.val=synthetic"], "evaluation.online"),
        ([*LABELLED, "evaluation.k=49"], "lower k"),
        (["evaluation.online=2", "evaluation.train=nowhere", "evaluation.val=synthetic"], "nowhere"),
    ],
)
def test_wrong_use_is_told_before_the_first_step(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(tmp_path / "run", *words) == 2
    assert said in capsys.readouterr().err


def test_what_fails_on_the_way_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from franca.errors import DataError
    from franca.train import online

    def fail(*_: object, **__: object) -> None:
        raise DataError("the disk is gone.")

    monkeypatch.setattr(online, "evaluate", fail)
    assert pretrain(tmp_path / "run", *LABELLED) == 0
    assert "alarm: evaluation of step 2: the disk is gone. Training goes on." in capsys.readouterr().out


@pytest.mark.parametrize(("place", "name"), [(extract, "_rows"), (Bank, "nearest")])
def test_a_stop_breaks_it_off(
    place: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signal that comes while the first piece of work is done: no second one is begun."""
    pieces: list[int] = []
    original = getattr(place, name)

    def signalled(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        pieces.append(1)
        return original(*args)

    monkeypatch.setattr(place, name, signalled)
    assert pretrain(tmp_path / "run", *LABELLED, "data.synthetic.num_images=400") == STOPPED_EXIT_CODE
    assert "evaluation of step 2: it was broken off, since a stop was asked for" in capsys.readouterr().out
    assert not (tmp_path / "run" / "evaluations.jsonl").exists() or not lines(tmp_path / "run")
    assert len(pieces) == 1
    monkeypatch.undo()
    assert pretrain(tmp_path / "run", *LABELLED, "data.synthetic.num_images=400") == 0
    assert [line["step"] for line in lines(tmp_path / "run")] == [4]


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_ranks_give_the_same_numbers(tmp_path: Path, mode: str) -> None:
    same = ["performance.precision=fp32", "optim.learning_rate=1e-9", "objective.koleo_group_size=4"]
    assert pretrain(tmp_path / "alone", *LABELLED, *same) == 0
    words = [*SMALL, *DRAWN, *LABELLED, *same, f"performance.parallel={mode}", "train.steps=4"]
    ranks = launch(["pretrain", "tiny", f"run.dir={tmp_path / 'ranks'}", *words], world=2, log=tmp_path / "log")
    ranks.join(120)
    assert ranks.exitcode == 0, (tmp_path / "log.0").read_text()
    for alone, shared in zip(lines(tmp_path / "alone"), lines(tmp_path / "ranks"), strict=True):
        for name in alone:
            if name != "seconds":
                # Features may be bf16, whose rounding goes with the batch: one image of the 24 may tip.
                tips = 1.5 / 24 if name.startswith("knn/") else 1e-4
                assert shared[name] == pytest.approx(alone[name], rel=1e-3, abs=tips), name
