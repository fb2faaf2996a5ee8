"""Pretraining from the outside: the run folder, resuming, stopping, refusing, and a golden curve."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from franca.config.recipes import load_recipe
from franca.errors import ConfigError, DataError, TooManyBadSamples
from franca.models.weights import load_backbone, read_safetensors
from franca.train import first_checkpoint
from franca.train.assembly import build_networks, build_optimizer
from franca.train.checkpoint import complete_checkpoints, load
from franca.train.initial_weights import initialize
from franca.train.pretrain import Outcome, pretrain

EXACT = ("performance.precision=fp32", "performance.device=cpu")
VOLATILE = ("images_per_second", "data_wait_fraction")


def run_tiny(folder: Path, *overrides: str, recipe: str = "tiny", **flags: bool) -> tuple[Outcome, str]:
    """Train the tiny recipe, or another, in this process; the outcome and what was printed."""
    output = io.StringIO()
    config = load_recipe(recipe, [f"run.dir={folder}", *EXACT, "performance.workers=0", *overrides])
    outcome = pretrain(config, command="franca pretrain tiny", console=Console(file=output, width=200), **flags)
    return outcome, output.getvalue()


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in VOLATILE} for line in lines]


def start(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """The tiny recipe in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "franca", "pretrain", "tiny", f"run.dir={folder}", *EXACT, *overrides],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 20 steps without a break."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run_tiny(folder)[0] is Outcome.FINISHED
    return folder


def assert_same_run(folder: Path, expected: Path) -> None:
    """Bitwise the same teacher and checkpointed state, and the same metrics at every step, each once."""
    assert metrics_of(folder) == metrics_of(expected)
    (tensors, _), (wanted, _) = (read_safetensors(run / "exports/teacher.safetensors") for run in (folder, expected))
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)
    found, wanted_state = (checkpointed(run) for run in (folder, expected))
    assert found.keys() == wanted_state.keys() and len(found) > 100
    assert all(torch.equal(found[name], wanted_state[name]) for name in wanted_state)


def checkpointed(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the last checkpoint by name: student, teacher, and the optimizer's moments and counters."""
    config = load_recipe(str(folder / "config.yaml"))
    networks = build_networks(config)
    initialize(networks, config, torch.device("cpu"))
    optimizer = build_optimizer(config, networks)
    load(complete_checkpoints(folder / "checkpoints")[-1][1], networks, optimizer)
    names = {id(parameter): name for name, parameter in networks.student.named_parameters()}
    moments = {
        f"{names[id(parameter)]}.{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }
    return dict(networks.state_dict()) | moments


def test_the_run_folder_holds_what_it_promises(straight: Path) -> None:
    names = {entry.name for entry in straight.iterdir()}
    assert {"config.yaml", "command.txt", "environment.txt", "metrics.jsonl", "checkpoints", "exports"} <= names
    assert [step for step, _ in complete_checkpoints(straight / "checkpoints")] == [10, 20]
    assert load_recipe(str(straight / "config.yaml")).train.steps == 20
    assert [line["step"] for line in metrics_of(straight)] == list(range(1, 21))
    assert load_backbone(straight / "exports/teacher.safetensors").export_info["step"] == 20
    assert load_backbone(straight / "exports/teacher_step_00000000.safetensors").export_info["step"] == 0


def test_a_finished_run_returns_at_once(straight: Path) -> None:
    before = (straight / "metrics.jsonl").read_bytes()
    outcome, output = run_tiny(straight)
    assert outcome is Outcome.FINISHED and "is finished: 20 steps" in output
    assert (straight / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_kill_and_resume_is_bitwise_the_same_run(tmp_path: Path, straight: Path, workers: int) -> None:
    folder = tmp_path / "killed"
    process = start(folder, f"performance.workers={workers}")
    wait_for(folder / "checkpoints/step_00000010/COMPLETE", process)
    process.kill()
    process.wait()
    assert not (folder / "checkpoints/step_00000020/COMPLETE").exists(), "killed too late to prove anything"
    outcome, output = run_tiny(folder, f"performance.workers={workers}")
    assert outcome is Outcome.FINISHED and "resuming" in output
    assert_same_run(folder, straight)


def test_sigterm_saves_and_says_run_again(tmp_path: Path, straight: Path) -> None:
    folder = tmp_path / "stopped"
    process = start(folder, "performance.workers=1", "run.checkpoint_every_steps=1000")
    wait_for(folder / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    (first, _), (step, _) = complete_checkpoints(folder / "checkpoints")
    assert first == 0 < step < 20
    run_tiny(folder, "run.checkpoint_every_steps=10")
    assert_same_run(folder, straight)


@pytest.mark.parametrize("dies_in", ["write_record", "save_and_load"])
def test_a_start_that_was_killed_is_started_again(
    dies_in: str, tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"franca.train.pretrain.{dies_in}", die)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(tmp_path / "run")
    assert run_tiny(tmp_path / "run")[0] is Outcome.FINISHED
    assert_same_run(tmp_path / "run", straight)


def test_a_signal_before_the_first_step_is_a_stop_too(
    tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = first_checkpoint.save_and_load

    def interrupted(*arguments: Any) -> str:
        signal.raise_signal(signal.SIGUSR1)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("franca.train.pretrain.save_and_load", interrupted)
        assert run_tiny(tmp_path / "run")[0] is Outcome.STOPPED
    run_tiny(tmp_path / "run")
    assert_same_run(tmp_path / "run", straight)


def test_a_tilde_in_run_dir_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(16):
        Image.new("RGB", (40, 40), (9 * number, 80, 80)).save(images / f"{number}.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    options = (f"data.train={images}", "train.steps=2", "run.dir=~/run")
    assert run_tiny(tmp_path / "other", *options)[0] is Outcome.FINISHED
    assert (tmp_path / "run/data.json").exists() and not Path("~").exists()
    (images / "0.png").unlink()
    assert "changed since the run began" in run_tiny(tmp_path / "other", *options)[1]


def test_golden_curve(straight: Path) -> None:
    """A change here is a change of the method: say which, and why, in the change log."""
    golden = json.loads((Path(__file__).parent / "golden_tiny.json").read_text())
    found = [line["loss/total"] for line in metrics_of(straight)]
    assert found == pytest.approx(golden, rel=1e-3)


def test_the_golden_curve_in_chunks(tmp_path: Path) -> None:
    _, output = run_tiny(tmp_path / "chunked", "performance.prototypes=chunked", "performance.prototype_chunk_mib=1")
    golden = json.loads((Path(__file__).parent / "golden_tiny.json").read_text())
    assert [line["loss/total"] for line in metrics_of(tmp_path / "chunked")] == pytest.approx(golden, rel=1e-3)
    assert "chunked, 1 MiB of logits at a time; as asked" in output


def test_bf16_learns_nearly_the_same(tmp_path: Path, straight: Path) -> None:
    run_tiny(tmp_path / "bf16", "performance.precision=bf16", "train.steps=20")
    found, expected = (metrics_of(folder)[-1]["loss/total"] for folder in (tmp_path / "bf16", straight))
    assert found == pytest.approx(expected, rel=0.02)


def test_one_level_trains_as_plain_dinov2(tmp_path: Path) -> None:
    run_tiny(tmp_path / "one", "objective.nesting=[1]", "train.steps=2")
    names = {name for name in metrics_of(tmp_path / "one")[-1] if name.startswith("loss/")}
    assert names == {"loss/total", "loss/dino_d64", "loss/ibot_d64", "loss/koleo"}


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.ffn=mlp", "model.num_registers=4", "model.layer_scale=null"),
        ("objective.ibot_weight=0", "objective.koleo_weight=0"),
        ("objective.dino_weight=0",),
        ("data.num_local_crops=0",),
        ("objective.head_input=project", "objective.head_normalize=false"),
        ("train.global_batch=1",),
        ("data.blur=inverted", "optim.clip_per_part=false", "optim.layer_decay=0.9"),
        ("train.global_batch=8", "performance.micro_batch=2", "objective.koleo_group_size=2"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_variants_run(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    run_tiny(tmp_path / "run", "train.steps=2", *overrides)
    for line in metrics_of(tmp_path / "run"):
        assert line["loss/total"] is not None and "steps_skipped" not in line


def test_accumulation_gives_the_same_curve(tmp_path: Path, straight: Path) -> None:
    options = ("train.steps=3", "model.stochastic_depth=0", "objective.koleo_group_size=2")
    for name, parts in (("whole", 8), ("parts", 2)):
        run_tiny(tmp_path / name, f"performance.micro_batch={parts}", *options)
    for a, b in zip(metrics_of(tmp_path / "whole"), metrics_of(tmp_path / "parts"), strict=True):
        assert b["loss/total"] == pytest.approx(a["loss/total"], rel=1e-4)


def test_colours_on_the_device_give_the_same_curve(tmp_path: Path) -> None:
    for place in ("cpu", "device"):
        run_tiny(tmp_path / place, f"performance.augment_on={place}", "train.steps=3")
    for a, b in zip(metrics_of(tmp_path / "cpu"), metrics_of(tmp_path / "device"), strict=True):
        assert b["loss/total"] == pytest.approx(a["loss/total"], rel=1e-6)


def test_dry_run_prints_sizes_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "dry"
    outcome, output = run_tiny(
        folder, "model.arch=vit_giant", "model.width=null", "model.depth=null", "model.num_heads=null", dry_run=True
    )
    assert outcome is Outcome.PLANNED and not folder.exists()
    assert "backbone 1,1" in output and "memory, estimated" in output and "passes over 256" in output


def test_dry_run_refuses_what_the_run_would(straight: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.seed: 0 -> 5"):
        run_tiny(straight, "train.seed=5", dry_run=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        run_tiny(tmp_path / "file", dry_run=True)


def test_init_from_a_backbone_and_from_a_full_run(tmp_path: Path, straight: Path) -> None:
    nothing = ("train.steps=1", "optim.learning_rate=0", "optim.teacher_momentum=1", "optim.min_learning_rate=0")
    run_tiny(tmp_path / "backbone", f"init.backbone={straight}", *nothing)
    run_tiny(tmp_path / "full", f"init.full={straight}", *nothing)
    wanted, _ = read_safetensors(straight / "exports/teacher.safetensors")
    for name in ("backbone", "full"):
        found, _ = read_safetensors(tmp_path / name / "exports/teacher.safetensors")
        assert all(torch.equal(found[key], wanted[key]) for key in wanted), name


class TestWrongInput:
    """One message, exit code 2, nothing written."""

    def test_another_configuration_in_the_folder(self, straight: Path) -> None:
        with pytest.raises(ConfigError, match=r"train\.seed: 0 -> 5"):
            run_tiny(straight, "train.seed=5")

    def test_data_errors_come_before_the_run_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for data in (tmp_path / "empty", tmp_path / "missing"):
            with pytest.raises(DataError, match=data.name):
                run_tiny(tmp_path / "run", f"data.train={data}")
        assert not (tmp_path / "run").exists()

    def test_too_many_bad_samples_stop_the_run(self, tmp_path: Path) -> None:
        images = tmp_path / "images"
        images.mkdir()
        for number in range(40):
            Image.new("RGB", (40, 40), "red").save(images / f"a{number}.png")
            (images / f"b{number}.png").write_bytes(b"")
        options = (f"data.train={images}", "train.steps=8")
        with pytest.raises(TooManyBadSamples, match="max_bad_fraction") as caught:
            run_tiny(tmp_path / "run", *options)
        assert caught.value.exit_code == 1
        (first, _), (step, _) = complete_checkpoints(tmp_path / "run/checkpoints")  # what was done is kept
        assert first == 0 < step < 8
        outcome, output = run_tiny(tmp_path / "run", *options, "data.max_bad_fraction=0.9")
        assert outcome is Outcome.FINISHED and "resuming" in output

    def test_what_is_not_supported_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not supported"):
            run_tiny(tmp_path / "run", "performance.precision=fp16")


def test_one_rank_has_nothing_to_spread_and_says_so(tmp_path: Path) -> None:
    outcome, output = run_tiny(tmp_path / "run", "performance.parallel=fsdp", dry_run=True)
    assert outcome is Outcome.PLANNED and "performance.parallel=fsdp has no effect" in output


def test_a_dry_run_of_several_ranks_needs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    _, output = run_tiny(tmp_path / "run", "objective.koleo_group_size=4", dry_run=True)
    assert "2 ranks (torchrun, 2 a machine), ddp" in output and "2 ranks x 1 x 4" in output
    assert "memory, estimated a rank" in output
    monkeypatch.setenv("RANK", "1")
    assert run_tiny(tmp_path / "run", "objective.koleo_group_size=4", dry_run=True)[1] == ""
