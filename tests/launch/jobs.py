"""Jobs and stand-ins for SLURM's commands, for tests that need no cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from franca.launch.template import Job


def make_job(folder: Path, **changes: Any) -> Job:
    """A job of two nodes with four GPUs each, below ``folder``."""
    values: dict[str, Any] = {
        "name": "franca-mine",
        "command": ("pretrain", "mine.yaml"),
        "run": folder / "runs" / "mine",
        "code": folder / "code",
        "directory": folder,
        "python": "/usr/bin/python3",
        "nodes": 2,
        "gpus_per_node": 4,
        "hours": 1.5,
        "trains": True,
    }
    return Job(**(values | changes))


def fake_command(folder: Path, name: str, script: str) -> None:
    """Put a bash script called ``name`` into a folder that the test puts first on the path."""
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
