"""docs/distributed.md says what the code does: its command lines are valid, and its numbers are the estimate's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.run import get_args_parser

from franca.cli.main import parse
from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.distributed.ranks import Ranks, resolve_ranks
from franca.objective.chunked import Chunked
from franca.train.assembly import build_networks
from franca.train.machine import Machine
from franca.train.memory import estimate_memory, size_text
from franca.train.share import share_of_batch

PAGE = (Path(__file__).parent.parent / "docs/distributed.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
STARTED_BY = {"srun": "python3 -m franca", "torchrun": "-m franca"}


def franca_part(command: str) -> tuple[list[str], list[str]]:
    """The words of a line up to ``franca``, and those after it."""
    words = shlex.split(command)
    at = words.index("franca")
    return words[:at], words[at + 1 :]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_of_ours_with_a_valid_recipe(command: str) -> None:
    before, (name, *arguments) = franca_part(command)
    parsed = parse(name, arguments)
    config = load_recipe(parsed.recipe, [*parsed.overrides, "run.dir=run"], need_data=parsed.recipe != "tiny")
    assert isinstance(config, Config)
    if before and before[0] in STARTED_BY:
        assert command.startswith(before[0]) and f" {STARTED_BY[before[0]]} pretrain" in command
    if before and before[0] == "torchrun":
        launcher = get_args_parser().parse_args([*before[1:], "franca", *arguments])
        world = int(launcher.nnodes.split(":")[-1]) * int(launcher.nproc_per_node)
        assert launcher.module and launcher.training_script == "franca"
        share_of_batch(config, Ranks(world=world, local_world=int(launcher.nproc_per_node), launcher="torchrun"))


def test_the_page_names_every_way_to_start() -> None:
    starts = {franca_part(command)[0][0].split("=")[0] for command in COMMANDS}
    assert starts == {"torchrun", "srun", "RANK"}


def test_variables_stand_in_for_a_launcher() -> None:
    (command,) = (command for command in COMMANDS if "--dry-run" in command)
    ranks = resolve_ranks(dict(word.split("=") for word in franca_part(command)[0]))
    assert (ranks.world, ranks.local_world) == (32, 8)


MEMORY = re.findall(r"^\| `(\w+)` \| (\d+) x (\d+)[^|]* \| `(\w+)` \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("row", MEMORY, ids=lambda row: row[0])
def test_the_memory_table_is_the_estimate(row: tuple[str, ...]) -> None:
    recipe, world, images, mode, *expected = row
    ranks = Ranks(world=int(world), local_world=min(8, int(world)), launcher="torchrun")
    found = []
    for value in ("none", "block"):
        config = load_recipe(recipe, [f"performance.activation_checkpointing={value}"], need_data=False)
        share = share_of_batch(config, ranks)
        assert share.micro_batch == int(images)
        machine = Machine(ranks, share, torch.device("cuda"), "bf16", mode)
        memory = estimate_memory(config, build_networks(config), machine, Chunked(512 * 2**20))
        found.append(size_text(memory.peak))
    assert found == expected


def test_the_memory_table_has_rows() -> None:
    assert [row[0] for row in MEMORY] == ["vits14", "vitb14_in21k", "vitl14_in21k", "vitg14_laion"]


@pytest.mark.slow
def test_torchrun_on_the_cpu_runs_as_the_page_says(tmp_path: Path) -> None:
    (command,) = (command for command in COMMANDS if " tiny " in command)
    words = shlex.split(command)
    assert words[0] == "torchrun"
    line = [sys.executable, "-m", "torch.distributed.run", *words[1:], f"run.dir={tmp_path / 'run'}", "train.steps=2"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "2 ranks (torchrun, 2 a machine), ddp" in " ".join(done.stdout.split())
    assert "read back the same" in done.stdout and "finished 2 steps" in done.stdout
