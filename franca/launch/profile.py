"""Profiles: what a cluster wants to be told, in a YAML file, checked strictly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from franca import assets
from franca.config.build import build, option_keys
from franca.config.problems import Problem, did_you_mean
from franca.config.schema import option
from franca.errors import ConfigError

FOLDER = "slurm/profiles"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How jobs are asked for. Whatever is null is left to the cluster."""

    executor: str = option("slurm", choices=("slurm", "local"))
    """``slurm`` submits with sbatch; ``local`` starts the job in the background of this machine."""
    partition: str | None = None
    """Partition, or several with commas."""
    account: str | None = None
    """Account that is charged."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that a node must have, as in ``a100&nvlink``."""
    gres: str | None = None
    """How GPUs are asked for, with ``{gpus}`` for their number on a node, as in ``gpu:a100:{gpus}``; null is
    ``--gpus-per-node``."""
    nodes: int = option(1, low=1)
    """Nodes of a job; ``--nodes`` wins."""
    gpus_per_node: int = option(1, low=0)
    """GPUs of a node, and one task for each; 0 is one task a node without a GPU. ``--gpus-per-node`` wins."""
    hours: float = option(24.0, low=1 / 60)
    """Time limit of one start; ``--hours`` wins. A run may take many."""
    cpus_per_task: int | None = option(None, low=1)
    """Processor cores of a task; the data workers want most of them."""
    memory_per_task_gb: int | None = option(None, low=1)
    """Main memory of a task, in gigabytes."""
    exclusive: bool = False
    """Whether nodes are not shared with other jobs."""
    signal: str = option("USR2", choices=("TERM", "USR1", "USR2"))
    """Signal that asks a run to save and stop, before its time limit and, where the cluster sends it, at preemption."""
    grace_seconds: int = option(120, low=1, high=65535)
    """How long before the time limit the signal comes: at least one step and one checkpoint."""
    requeue: bool = True
    """Whether jobs may be put back into the queue; where that is forbidden use ``--chain``."""
    environment: list[str] = option([])
    """Lines of bash that run first on the first node, as in ``module load cuda/12.4``; tasks inherit variables."""
    python: str | None = None
    """Python of the job; null is the one that runs ``franca submit``."""
    srun: list[str] = option([])
    """Further options of srun, as in ``--cpu-bind=cores``."""
    sbatch: list[str] = option([])
    """Further options of sbatch, as in ``--mail-type=END``."""


def load_profile(name_or_path: str | None) -> Profile:
    """A checked profile.

    Args:
        name_or_path: A shipped profile by name, or the path of a YAML file; None takes every default.

    Raises:
        ConfigError: there is no such profile, or it is not as it must be; the message lists the valid keys.
    """
    if name_or_path is None:
        return Profile()
    path = profile_path(name_or_path)
    try:
        return build(_read(path), Profile, check=_problems, where=f"profile {path}")
    except ConfigError as error:
        raise ConfigError(f"{error}\nKeys of a profile: {', '.join(option_keys(Profile))}.") from None


def profile_path(name_or_path: str) -> Path:
    """Where a profile lies: a name is looked up among ours, anything with a suffix or a folder is a path.

    Raises:
        ConfigError: there is no such profile; the message lists ours.
    """
    is_path = Path(name_or_path).suffix in (".yaml", ".yml") or len(Path(name_or_path).parts) > 1
    path = Path(os.path.expanduser(name_or_path)) if is_path else assets.path(FOLDER, f"{name_or_path}.yaml")
    if path.is_file():
        return path
    known = assets.names(FOLDER)
    hint = "" if is_path else did_you_mean(name_or_path, known)
    raise ConfigError(
        f"There is no profile {name_or_path}{hint}\nShipped profiles: {', '.join(known)}. "
        "A profile of your own is given by its path, such as ./cluster.yaml."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(data or {}, dict):
        raise ConfigError(f"{path} must hold options, one 'key: value' a line")
    return {str(key): _literal(value) for key, value in (data or {}).items()}


def _literal(value: Any) -> Any:
    """Shell variables in a text stay: without the backslash, ``${HOME}`` would be looked up among the options."""
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value


def _problems(profile: Profile) -> Iterator[Problem]:
    for key in ("srun", "sbatch"):
        for text in getattr(profile, key):
            if not text.startswith("-"):
                yield Problem((key,), f"expected options such as --exclude=node7; found {text!r}")
    if profile.gres is not None and "{gpus}" not in profile.gres:
        yield Problem(
            ("gres",), f"expected {{gpus}} where the number of GPUs goes, as in gpu:{{gpus}}; {profile.gres!r}"
        )
