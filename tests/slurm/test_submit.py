"""Jobs on a real SLURM: they run a copy of the code, and a requeue in the middle loses nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from franca import assets
from franca.cli.main import main
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.runs import (
    OPTIONS,
    assert_finished,
    assert_same_training,
    kinds,
    submit,
    submit_tiny,
    wait_for_step,
)

pytestmark = pytest.mark.slurm

STEPS = 40
RUN = Path("runs/tiny")


@pytest.mark.slow
def test_requeued_in_the_middle(
    cluster: Cluster, uninterrupted: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = submit_tiny(capsys, STEPS)
    wait_for_step(RUN, 10)
    assert main(["submit", "--profile", "cpu", "--", "pretrain", "tiny", f"train.steps={STEPS}", *OPTIONS]) == 2
    assert f"is in use by job {job_id}" in capsys.readouterr().err
    cluster.run("scontrol", "requeue", job_id)
    assert_finished(cluster, job_id, RUN)
    assert cluster.job(job_id)["Restarts"] == "1"
    assert kinds(RUN) == ["started", "ended", "unfinished", "started", "ended"]
    assert_same_training(RUN, uninterrupted(STEPS))
    assert main(["jobs", str(RUN)]) == 0
    shown = capsys.readouterr().out
    assert job_id in shown and "COMPLETED" in shown and f"{STEPS}/{STEPS}" in shown


def test_two_nodes_train_together_and_are_requeued(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """Two tasks on two nodes, gloo between them: straight, and with a requeue in the middle."""
    command = ("pretrain", "tiny", f"train.steps={STEPS}", "objective.koleo_group_size=4", *OPTIONS)
    (straight,) = submit(capsys, "--profile", "cpu", "--nodes", "2", "--", *command, "run.dir=straight")
    assert_finished(cluster, straight, Path("straight"))
    assert cluster.job(straight)["NumNodes"] == "2"
    assert "2 ranks" in next(Path("straight/jobs").glob("*.out")).read_text()
    (job_id,) = submit(capsys, "--profile", "cpu", "--nodes", "2", "--", *command)
    wait_for_step(RUN, 10)
    cluster.run("scontrol", "requeue", job_id)
    assert_finished(cluster, job_id, RUN)
    assert cluster.job(job_id)["Restarts"] == "1"
    assert_same_training(RUN, Path("straight"))


def test_tasks_are_spread_over_two_nodes(cluster: Cluster, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One task for each GPU of both nodes, with the address of the first and a GPU of its own."""
    report = 'echo "fact $SLURM_PROCID $SLURMD_NODENAME $MASTER_ADDR $MASTER_PORT $CUDA_VISIBLE_DEVICES"'
    python = tmp_path / "python"  # stands for the job's python
    python.write_text(f"#!/bin/bash\n{report}\n")
    python.chmod(0o755)
    profile = tmp_path / "profile.yaml"
    profile.write_text(f"python: {python}\ngres: 'gpu:{{gpus}}'\n")
    command = ("eval", "knn", "franca_vits14", "val=synthetic")
    (job_id,) = submit(capsys, "--profile", str(profile), "--nodes", "2", "--gpus-per-node", "2", "--", *command)
    (run,) = Path("runs").iterdir()
    assert_finished(cluster, job_id, run)
    log = (run / "jobs" / f"{job_id}_0_log.out").read_text()
    facts = sorted(line.split("fact ")[1].split() for line in log.splitlines() if "fact " in line)
    ranks, nodes, addresses, ports, gpus = zip(*facts, strict=True)
    assert ranks == ("0", "1", "2", "3")
    assert nodes == (cluster.nodes[0],) * 2 + (cluster.nodes[1],) * 2
    assert set(addresses) == {cluster.nodes[0]} and len(set(ports)) == 1
    assert gpus == ("0,1",) * 4


def test_a_refusal_is_told_in_the_words_of_sbatch(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.yaml").write_text("partition: nosuch\n")
    assert main(["submit", "--profile", str(tmp_path / "wrong.yaml"), "--", "pretrain", "tiny"]) == 2
    assert "invalid partition specified: nosuch" in capsys.readouterr().err
    assert list((RUN / "jobs").iterdir()) == [], "the next submission finds nothing of these"


def test_an_edit_does_not_reach_a_submitted_job(
    cluster: Cluster, tmp_path: Path, uninterrupted: Callable[[int], Path]
) -> None:
    """A checkout is edited, so that nothing works any more, after the job was submitted and before it starts."""
    checkout, recipe = tmp_path / "checkout", tmp_path / "mine.yaml"
    for folder in ("franca", "configs", "eval", "slurm"):
        shutil.copytree(assets.path(folder), checkout / folder)
    recipe.write_text(assets.path("configs", "tiny.yaml").read_text().replace("steps: 20", f"steps: {STEPS}"))
    words = ["--profile", "cpu", "--", "pretrain", str(recipe), "run.dir=runs/tiny", *OPTIONS]
    cluster.run("scontrol", "update", "partitionname=main", "state=down")
    try:
        subprocess.run(
            [sys.executable, "-m", "franca", "submit", *words],
            env=os.environ | {"PYTHONPATH": str(checkout)},
            check=True,
            capture_output=True,
        )
        for file in (checkout / "franca/cli/main.py", checkout / "franca/train/step.py", recipe):
            file.write_text("raise SystemExit('edited')")
    finally:
        cluster.run("scontrol", "update", "partitionname=main", "state=up")
    (record,) = (RUN / "jobs").glob("*.json")
    assert_finished(cluster, record.stem, RUN)
    assert_same_training(RUN, uninterrupted(STEPS))


@pytest.mark.slow
def test_without_submitit_the_short_script_does_the_same(
    cluster: Cluster, uninterrupted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = Path("bin/python3")  # what a virtual environment has on its path
    python.parent.mkdir()
    python.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{python.parent.resolve()}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(assets.path()))
    script = str(assets.path("slurm", "pretrain.sbatch"))
    words = ("tiny", f"train.steps={STEPS}", *OPTIONS)
    job_id = cluster.run("sbatch", "--parsable", "--gpus-per-node=0", "--cpus-per-task=1", script, *words).strip()
    wait_for_step(RUN, 10)
    cluster.run("scancel", "--signal=USR2", job_id)
    wait_until(lambda: cluster.job(job_id)["Restarts"] == "1", "the job put itself back", seconds=60)
    cluster.wait_for(job_id, "COMPLETED", "FAILED")
    assert cluster.state(job_id) == "COMPLETED", Path(f"franca-{job_id}.log").read_text()
    assert_same_training(RUN, uninterrupted(STEPS))
