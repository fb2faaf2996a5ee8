"""Every kind of stop on a real SLURM ends in the same parameters as a run that nothing interrupted."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from franca.cli.main import main
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.runs import (
    OPTIONS,
    assert_finished,
    assert_same_training,
    kinds,
    losses,
    submit,
    submit_tiny,
    train_here,
    wait_for_step,
)

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STEPS = 60
RUN = Path("runs/tiny")
Uninterrupted = Callable[[int], Path]


def training_process() -> int:
    """Process id of the rank that writes, as the lock of the run folder names it."""
    match = re.search(r"process (\d+)", (RUN / ".lock").read_text())
    assert match is not None
    return int(match[1])


def restarted(cluster: Cluster, job_id: str, times: int = 1) -> None:
    """Wait until a job has been put back into the queue so many times, and runs again."""
    wait_until(lambda: int(cluster.job(job_id)["Restarts"]) >= times, f"job {job_id} was put back", seconds=180)
    cluster.wait_for(job_id, "RUNNING", "COMPLETED")


def test_preempted_by_a_job_of_higher_priority(
    cluster: Cluster, uninterrupted: Uninterrupted, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = submit_tiny(capsys, STEPS)
    wait_for_step(RUN, 10)
    urgent = cluster.run(
        "sbatch", "--parsable", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 2"
    ).strip()
    cluster.wait_for(urgent, "COMPLETED")
    restarted(cluster, job_id)
    assert_finished(cluster, job_id, RUN)
    assert kinds(RUN) == ["started", "ended", "requeued", "started", "ended"]
    assert_same_training(RUN, uninterrupted(STEPS))


SLOW = """\
import runpy, sys, time
sys.path.insert(0, sys.argv[1])
from franca.train import loop
step = loop.train_step
loop.train_step = lambda *args, **options: (time.sleep(1), step(*args, **options))[1]
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A machine that takes a second for every step, however fast it is: the shortest time limits are minutes."""


def test_stopped_by_the_time_limit(
    cluster: Cluster, uninterrupted: Uninterrupted, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The signal comes with the controller's tick, 50 to 80 seconds after the start."""
    (tmp_path / "slow.py").write_text(SLOW)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\nexec {sys.executable} "{tmp_path}/slow.py" "$@"\n')
    python.chmod(0o755)
    profile = tmp_path / "short.yaml"
    profile.write_text(f"gpus_per_node: 0\ngrace_seconds: 70\npython: '{python}'\n")
    steps = 100
    job_id = submit_tiny(capsys, steps, "--profile", str(profile), "--hours", str(2 / 60))
    assert cluster.job(job_id)["TimeLimit"] == "00:02:00"
    wait_until(lambda: "requeued" in kinds(RUN), "the time limit has stopped the job", seconds=240)
    assert_finished(cluster, job_id, RUN, seconds=900)  # a busy machine comes through few steps in each start
    assert int(cluster.job(job_id)["Restarts"]) >= 1
    assert_same_training(RUN, uninterrupted(steps))


def test_the_node_goes_down(cluster: Cluster, uninterrupted: Uninterrupted, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody asks the run to save: it goes on from its newest checkpoint, on the other node."""
    job_id = submit_tiny(capsys, STEPS)
    wait_for_step(RUN, 10)
    node = cluster.job(job_id)["NodeList"]
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        restarted(cluster, job_id)
        assert cluster.job(job_id)["NodeList"] != node
        assert_finished(cluster, job_id, RUN)
    finally:
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    assert_same_training(RUN, uninterrupted(STEPS))
    wait_until(lambda: cluster.node_states() == {"idle"}, "the node has come back", seconds=60)


def test_slurmd_is_killed(cluster: Cluster, uninterrupted: Uninterrupted, capsys: pytest.CaptureFixture[str]) -> None:
    """The job is given to the other node while its first start still writes, unseen; the two never write at once."""
    job_id = submit_tiny(capsys, 3 * STEPS)
    wait_for_step(RUN, 10)
    node = cluster.job(job_id)["NodeList"]
    cluster.stop(node, signal.SIGKILL)
    try:
        restarted(cluster, job_id)
        assert cluster.job(job_id)["NodeList"] != node
    finally:
        cluster.start_node(node)
    assert_finished(cluster, job_id, RUN)
    assert_same_training(RUN, uninterrupted(3 * STEPS))
    wait_until(lambda: cluster.node_states() == {"idle"}, "the node has come back", seconds=60)


def test_cancelled_and_submitted_again(
    cluster: Cluster, uninterrupted: Uninterrupted, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = submit_tiny(capsys, STEPS)
    wait_for_step(RUN, 10)
    cluster.run("scancel", job_id)
    cluster.wait_for(job_id, "CANCELLED")
    assert kinds(RUN) == ["started", "ended", "unfinished"]
    again = submit_tiny(capsys, STEPS)
    assert_finished(cluster, again, RUN)
    assert cluster.state(job_id) == "CANCELLED" and cluster.job(job_id)["Restarts"] == "0"
    assert_same_training(RUN, uninterrupted(STEPS))
    finished = submit_tiny(capsys, STEPS)  # a finished run returns at once, and is not put back
    assert_finished(cluster, finished, RUN)
    assert cluster.job(finished)["Restarts"] == "0" and len(losses(RUN)) == STEPS


def test_a_rank_is_killed_for_want_of_memory(
    cluster: Cluster, uninterrupted: Uninterrupted, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel kills without a warning. Each start that saved something new is worth another."""
    job_id = submit_tiny(capsys, STEPS)
    wait_for_step(RUN, 10)
    os.kill(training_process(), signal.SIGKILL)
    restarted(cluster, job_id)
    assert_finished(cluster, job_id, RUN)
    assert kinds(RUN) == ["started", "ended", "requeued", "started", "ended"]
    assert_same_training(RUN, uninterrupted(STEPS))


def test_a_job_that_fails_is_not_put_back(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    (job_id,) = submit(capsys, "--profile", "cpu", "--", "pretrain", "tiny", "data.train=missing")
    cluster.wait_for(job_id, "FAILED", "COMPLETED")
    assert cluster.state(job_id) == "FAILED" and cluster.job(job_id)["ExitCode"] == "2:0"
    assert kinds(RUN) == ["started", "ended"]


def test_a_chain_needs_no_requeue(
    cluster: Cluster, uninterrupted: Uninterrupted, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    profile = tmp_path / "no_requeue.yaml"
    profile.write_text("gpus_per_node: 0\nrequeue: false\n")
    command = ("pretrain", "tiny", f"train.steps={STEPS}", *OPTIONS)
    first, second, third = submit(capsys, "--profile", str(profile), "--chain", "3", "--", *command)
    wait_for_step(RUN, 10)
    assert cluster.state(second) == cluster.state(third) == "PENDING"
    cluster.run("scancel", "--signal=USR2", first)
    cluster.wait_for(first, "FAILED")
    assert_finished(cluster, second, RUN)
    assert_finished(cluster, third, RUN)  # there was nothing left to do
    assert_same_training(RUN, uninterrupted(STEPS))


def test_evaluations_as_an_array(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    train_here(RUN, 10)
    command = ("eval", "knn", str(RUN), "train=synthetic", "val=synthetic", "synthetic.num_images=64")
    options = ("synthetic.num_val_images=16", "synthetic.size_px=32", "workers=0", "device=cpu")
    (job_id,) = submit(capsys, "--profile", "cpu", "--", *command, *options, "--exports", "all")
    elements = [f"{job_id}_{number}" for number in range(2)]
    for element in elements:
        cluster.wait_for(element, "COMPLETED", "FAILED")
    logs = "\n".join(path.read_text() for path in sorted((RUN / "jobs").glob("*.out")))
    assert [cluster.state(element) for element in elements] == ["COMPLETED"] * 2, logs
    (table,) = RUN.glob("evaluations/*/table.md")
    rows = [line.split("|")[1].strip() for line in table.read_text().splitlines()]
    assert rows[2:] == ["teacher_step_00000000", "teacher"]
    written = table.read_text()
    assert main([*command, *options, "--exports", "all"]) == 0  # the same here; every report is there already
    assert table.read_text() == written
    assert main(["jobs", str(RUN)]) == 0
    assert "2 COMPLETED" in capsys.readouterr().out
