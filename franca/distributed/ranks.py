"""Which of how many processes this one is, read from what the launcher says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from franca.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among all that train together."""

    rank: int = 0
    """Among all, from 0."""
    world: int = 1
    """How many there are."""
    local_rank: int = 0
    """Among those of this machine, from 0."""
    local_world: int = 1
    """How many this machine has."""
    launcher: str = "none"
    """torchrun, srun or none."""
    rendezvous: str = ""
    """Where they find each other, as ``init_process_group`` takes it."""

    def __str__(self) -> str:
        return "1 rank" if self.world == 1 else f"{self.world} ranks ({self.launcher}, {self.local_world} a machine)"


_Read: TypeAlias = Callable[[Mapping[str, str]], Ranks]


def resolve_ranks(environment: Mapping[str, str]) -> Ranks:
    """What torchrun's variables say, else those of srun, else one process.

    Args:
        environment: Variables by name, as ``os.environ``.

    Raises:
        ConfigError: a launcher's variables are incomplete or contradict each other.
    """
    for launcher, marks, read in _LAUNCHERS:
        if all(name in environment for name in marks):
            return _checked(launcher, read, environment)
    return Ranks()


def rank_of(environment: Mapping[str, str]) -> int:
    """This process's rank as its launcher says; 0 where that is nonsense, which `resolve_ranks` refuses."""
    try:
        return resolve_ranks(environment).rank
    except ConfigError:
        return 0


def _checked(launcher: str, read: _Read, environment: Mapping[str, str]) -> Ranks:
    try:
        ranks = read(environment)
    except KeyError as error:
        raise ConfigError(f"{launcher} started this process, but did not set {error.args[0]}") from None
    except (ValueError, IndexError) as error:
        raise ConfigError(f"the variables of {launcher} cannot be understood: {error}") from None
    if not (0 <= ranks.rank < ranks.world and 0 <= ranks.local_rank < ranks.local_world <= ranks.world):
        raise ConfigError(f"the variables of {launcher} contradict each other: {ranks!r}")
    return ranks


def _torchrun(environment: Mapping[str, str]) -> Ranks:
    return Ranks(
        rank=int(environment["RANK"]),
        world=int(environment["WORLD_SIZE"]),
        local_rank=int(environment["LOCAL_RANK"]),
        local_world=int(environment["LOCAL_WORLD_SIZE"]),
        launcher="torchrun",
        rendezvous="env://",
    )


def _srun(environment: Mapping[str, str]) -> Ranks:
    """A job step; a batch script itself has no step, so a command in it is one process."""
    tasks = _tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    # Jobs that share a machine meet at different ports, below those that the system hands out by itself.
    port = 15_000 + int(environment["SLURM_JOB_ID"]) % 15_000
    return Ranks(
        rank=int(environment["SLURM_PROCID"]),
        world=int(environment["SLURM_STEP_NUM_TASKS"]),
        local_rank=int(environment["SLURM_LOCALID"]),
        local_world=tasks[int(environment["SLURM_NODEID"])],
        launcher="srun",
        rendezvous=f"tcp://{first_host(environment['SLURM_STEP_NODELIST'])}:{port}",
    )


def _tasks_per_node(text: str) -> list[int]:
    """``4(x2),3`` is 4, 4, 3."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError(f"SLURM_STEP_TASKS_PER_NODE={text}")
        counts += [int(match.group(1))] * int(match.group(2) or 1)
    return counts


def first_host(nodes: str) -> str:
    """The first of SLURM's compressed list: ``gpu[03-05,11],cpu1`` gives ``gpu03``."""
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first)


_LAUNCHERS: tuple[tuple[str, tuple[str, ...], _Read], ...] = (
    ("torchrun", ("RANK", "WORLD_SIZE"), _torchrun),
    ("srun", ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"), _srun),
)
