"""The training that the tests interrupt, and how they see that nothing was lost."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from franca.cli.main import main
from franca.config.recipes import load_recipe
from franca.launch.record import read_events
from franca.models.weights import read_safetensors
from franca.train.pretrain import Outcome, pretrain
from tests.slurm.cluster import Cluster, wait_until

OPTIONS = (
    "performance.device=cpu",
    "performance.precision=fp32",
    "performance.workers=0",
    "run.checkpoint_every_steps=10",
)


def train_here(folder: Path, steps: int) -> None:
    """The tiny recipe in this process."""
    config = load_recipe("tiny", [f"run.dir={folder}", f"train.steps={steps}", *OPTIONS])
    outcome = pretrain(config, command="franca pretrain tiny", console=Console(file=io.StringIO()))
    assert outcome is Outcome.FINISHED


def submit(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """``franca submit …``; the ids of the jobs."""
    capsys.readouterr()
    code = main(["submit", *words])
    output = capsys.readouterr()
    assert code == 0, output.err
    match = re.search(r"^job +([\d, ]+) \(", output.out, flags=re.MULTILINE)
    assert match is not None, output.out
    return match[1].split(", ")


def submit_tiny(capsys: pytest.CaptureFixture[str], steps: int, *options: str) -> str:
    """Submit the tiny recipe; the id of the job, whose run folder is ``runs/tiny``."""
    (job_id,) = submit(
        capsys, *(options or ("--profile", "cpu")), "--", "pretrain", "tiny", f"train.steps={steps}", *OPTIONS
    )
    return job_id


def wait_for_step(run: Path, step: int) -> None:
    """Wait until a checkpoint is complete."""
    wait_until((run / f"checkpoints/step_{step:08d}/COMPLETE").exists, f"{run} has saved step {step}", seconds=180)


def assert_finished(cluster: Cluster, job_id: str, run: Path, seconds: float = 300) -> None:
    """Wait until the job has ended; on any end but a good one show what it said."""
    cluster.wait_for(job_id, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", seconds=seconds)
    logs = "\n".join(path.read_text() for path in sorted((run / "jobs").glob("*.out")))
    assert cluster.state(job_id) == "COMPLETED", logs


def assert_same_training(run: Path, expected: Path) -> None:
    """Bitwise the same teacher, and every step logged once with the same losses."""
    (found, _), (wanted, _) = (read_safetensors(path / "exports/teacher.safetensors") for path in (run, expected))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert losses(run) == losses(expected)


def losses(run: Path) -> list[tuple[int, float]]:
    """Step and loss of every line of the metrics."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss/total"]) for line in lines]


def kinds(run: Path) -> list[str]:
    """What happened to the jobs of a run, in order."""
    return [event.kind for event in read_events(run)]
