"""``franca submit`` as it is typed, with stand-ins for SLURM's commands; tests/slurm has the real ones."""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from franca import assets
from franca.cli.main import COMMANDS, main
from franca.cli.submit import SHARE_RANKS
from franca.config.recipes import load_recipe
from franca.launch.local import is_running
from franca.train.run_folder import open_run_folder
from tests.launch.jobs import fake_command
from tests.launch.test_local import wait_for_end

TINY = ["pretrain", "tiny", "train.steps=2", "performance.workers=0", "performance.device=cpu"]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and a machine without SLURM."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("bash", "cat", "cp", "ps", "date", "hostname", "timeout"):
        (binaries / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(binaries))
    return folder


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """A SLURM that takes every job and never runs it; scripts are kept as ``script_N`` in the folder."""
    binaries = tmp_path / "bin"
    fake_command(binaries, "srun", "")
    fake_command(
        binaries,
        "sbatch",
        f'number=1; while [ -e "{tmp_path}/script_$number" ]; do number=$((number + 1)); done\n'
        f'cp "$1" "{tmp_path}/script_$number"; echo "Submitted batch job $((100 + number))"',
    )
    fake_command(binaries, "squeue", "exit 1")
    return tmp_path


def test_what_is_printed_is_what_is_submitted(slurm: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--profile", "example", "--nodes", "2", "--gpus-per-node", "4", "--hours", "3"]
    assert main(["submit", *options, "--print", "--", *TINY]) == 0
    printed = capsys.readouterr().out
    assert list(work.iterdir()) == [], "--print must leave no trace"
    assert main(["submit", *options, "--", *TINY]) == 0
    assert (slurm / "script_1").read_text() == printed
    assert "--nodes=2" in printed and "--ntasks-per-node=4" in printed and "--time=180" in printed


def test_printing_needs_no_slurm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--print", "--", *TINY]) == 0
    assert capsys.readouterr().out.startswith("#!/bin/bash\n#SBATCH ")


def test_it_says_how_to_follow_stop_and_resume(slurm: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--", *TINY]) == 0
    said = capsys.readouterr().out
    for text in (
        "101 (1 node x 1 task)",
        str(work / "runs/tiny"),
        str(work / "runs/tiny/jobs/101_0_log.out"),
        "franca jobs runs/tiny",
        "franca logs runs/tiny -f",
        "scancel 101",
        "the same line again",
    ):
        assert text in said
    record = json.loads((work / "runs/tiny/jobs/101.json").read_text())
    assert (record["job_id"], record["executor"], record["trains"]) == ("101", "slurm", True)


def test_the_job_trains_with_the_configuration_as_it_was(slurm: Path, work: Path) -> None:
    assert main(["submit", "--", *TINY]) == 0
    (config,) = (work / "runs/tiny/code").glob("*/config.yaml")
    assert load_recipe(str(config)) == load_recipe("tiny", [*TINY[2:], f"run.dir={work}/runs/tiny"])
    assert (
        f"pretrain '{config}'\n" in (slurm / "script_1").read_text()
        or f"pretrain {config}\n" in (slurm / "script_1").read_text()
    )


def test_a_chain_is_submitted_at_once(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--chain", "3", "--", *TINY]) == 0
    assert "101, 102, 103" in capsys.readouterr().out
    assert (slurm / "script_1").read_text() == (slurm / "script_3").read_text()


def test_a_run_with_a_job_in_the_queue_is_refused(
    slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "--", *TINY]) == 0
    fake_command(tmp_path / "bin", "squeue", "echo '101|PENDING|3:00'")
    assert main(["submit", "--", *TINY]) == 2
    assert "in use by job 101 (PENDING)" in capsys.readouterr().err
    assert main(["submit", "--", *TINY, "run.dir=other"]) == 0


def test_a_run_that_a_process_holds_is_refused_with_its_job(
    slurm: Path, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job of the short script has no record in the run folder, but holds its lock."""
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    folder, _ = open_run_folder(load_recipe("tiny", ["run.dir=runs/tiny"]))
    monkeypatch.delenv("SLURM_JOB_ID")
    assert main(["submit", "--", *TINY]) == 2
    assert f"in use by SLURM job 77, process {os.getpid()}" in capsys.readouterr().err
    folder.close()
    assert main(["submit", "--", *TINY]) == 0


def test_fresh_moves_the_old_run_aside_once(slurm: Path, work: Path) -> None:
    assert main(TINY) == 0
    assert main(["submit", "--", *TINY, "--fresh"]) == 0
    assert (work / "runs/tiny.old-1/metrics.jsonl").is_file() and not (work / "runs/tiny/metrics.jsonl").exists()
    assert "--fresh" not in (slurm / "script_1").read_text(), "a restart would begin anew"


def test_a_submitted_folder_is_taken_by_the_run(slurm: Path) -> None:
    assert main(["submit", "--", *TINY]) == 0
    assert main(TINY) == 0


def test_any_command_of_ours_can_be_submitted(slurm: Path, work: Path) -> None:
    assert main(["submit", "--", "eval", "knn", "franca_vits14", "train=a b", "val=synthetic"]) == 0
    script = (slurm / "script_1").read_text()
    assert "eval knn franca_vits14 'train=a b' val=synthetic\n" in script
    (folder,) = (work / "runs").iterdir()
    assert folder.name.startswith("eval-") and (folder / "jobs/101.json").is_file()


def test_evaluations_over_exports_are_an_array(slurm: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TINY) == 0
    command = ["eval", "knn", "runs/tiny", "train=synthetic", "val=synthetic", "--exports"]
    assert main(["submit", "--", *command, "all"]) == 0
    script = (slurm / "script_1").read_text()
    assert "#SBATCH --array=0-1\n" in script
    assert '--exports teacher_step_00000000,teacher --element "$SLURM_ARRAY_TASK_ID"\n' in script
    assert str(work / "runs/tiny/jobs/101_*_0_log.out") in capsys.readouterr().out
    assert main(["submit", "--", *command, "teacher_step_7"]) == 2
    assert "teacher_step_7" in capsys.readouterr().err


def test_one_element_is_not_an_array(slurm: Path) -> None:
    assert main(TINY) == 0
    command = ["eval", "knn", "runs/tiny", "val=synthetic", "--exports", "all", "--element", "1"]
    assert main(["submit", "--", *command]) == 0
    script = (slurm / "script_1").read_text()
    assert " ".join(command) in script and "--array" not in script


def test_what_it_says_can_be_pasted_into_a_shell(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--", *TINY, "run.dir=my run"]) == 0
    assert "franca jobs 'my run'; franca logs 'my run' -f\n" in capsys.readouterr().out


def test_a_command_of_one_process_is_not_started_on_every_gpu(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "index", "photos"]
    assert main(["submit", "--gpus-per-node", "4", "--nodes", "2", "--", *command]) == 2
    message = capsys.readouterr().err
    assert "would start 8 of them (2 nodes x 4 tasks): add --nodes 1 --gpus-per-node 1" in message
    assert not (slurm / "script_1").exists()
    assert main(["submit", "--", *command]) == 0


def test_the_commands_that_share_work_are_those_that_ask_for_ranks() -> None:
    asking = {name for name, command in COMMANDS.items() if "resolve_ranks(" in source_of(command.module)}
    assert asking | {"pretrain"} == set(SHARE_RANKS)


def source_of(module: str) -> str:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_text()


def test_without_a_cluster_the_local_profile_trains_in_the_background(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "--profile", "local", "--", *TINY]) == 0
    match = re.search(r"stop +kill (\d+)", capsys.readouterr().out)
    assert match is not None
    if is_running(match[1], os.uname().nodename):
        assert main(["submit", "--profile", "local", "--", *TINY]) == 2
        assert f"in use by local job {match[1]}" in capsys.readouterr().err
    wait_for_end(match[1])
    assert main(["logs", "runs/tiny"]) == 0
    assert "rank 0 | finished 2 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["no command", "pretrain", "-- COMMAND"]),
        (["--"], ["no command"]),
        (["pretrain", "tiny"], ["unrecognized arguments"]),
        (["--", "pretrian"], ["did you mean pretrain?"]),
        (["--", "submit"], ["there is no command 'submit'"]),
        (["--", "pretrain", "tniy"], ["tniy", "did you mean tiny?"]),
        (["--", "pretrain", "tiny", "--dry-run"], ["--dry-run", "run franca pretrain"]),
        (["--", "eval", "knn"], ["usage: franca eval"]),
        (["--", "eval", "knn,lineer", "franca_vits14", "val=synthetic"], ["lineer"]),
        (["--", "eval", "knn", "franca_vits14", "val=synthetic", "kk=3"], ["kk"]),
        (["--", "eval", "knn", "franca_vits14"], ["train=SRC and val=SRC missing"]),
        (["--profile", "nosuch", "--", *TINY], ["There is no profile nosuch", *assets.names("slurm/profiles")]),
        (["--nodes", "0", "--", *TINY], ["--nodes", ">= 1"]),
        (["--gpus-per-node", "four", "--", *TINY], ["--gpus-per-node", "'four'"]),
        (["--hours", "nan", "--", *TINY], ["--hours", "> 0", "'nan'"]),
        (["--hours", "0.01", "--", *TINY], ["0.01 hours", "grace_seconds"]),
        (["--profile", "local", "--nodes", "2", "--", *TINY], ["--nodes 2", "local"]),
        (["--", *TINY], ["no SLURM on this machine", "--profile local"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_wrong_input_gives_one_message_and_two(
    words: list[str], expected: list[str], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", *words]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert [text for text in expected if text not in message] == []
    assert list(work.iterdir()) == []


def test_another_configuration_is_refused_before_it_waits_in_the_queue(
    slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(TINY) == 0
    assert main(["submit", "--", *TINY, "train.seed=5"]) == 2
    assert "train.seed: 0 -> 5" in capsys.readouterr().err
    assert not (slurm / "script_1").exists()


def test_the_commands_that_look_at_jobs_are_not_submitted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["submit"])
    message = capsys.readouterr().err
    for name in COMMANDS:
        assert (f" {name}," in message or f" {name}." in message) == (name not in ("submit", "jobs", "logs"))


def test_the_entry_script_in_a_checkout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(assets.path("slurm").parent))
    monkeypatch.setattr(sys, "argv", ["", "--print", "--", *TINY])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("slurm.submit", run_name="__main__")
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("#!/bin/bash\n")
