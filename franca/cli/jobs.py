"""``franca jobs [RUN …]``: what the jobs do, from the run folders and the queue."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

from rich.table import Table

from franca.cli.output import plain_console
from franca.launch.status import Status, known_runs, run_statuses

FILE_WIDTH = 200
"""Columns where there is no terminal to fit into."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Run folders."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="*",
        type=Path,
        help="run folders; without any, those in runs/ that have jobs, and those of my jobs in the queue",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line for each job."""
    console = plain_console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    runs = args.runs or known_runs(Path("runs"))
    if not runs:
        console.print("no jobs: nothing in runs/ was submitted, and the queue holds no job of ours")
        return 0
    console.print(_table([status for folder in runs for status in run_statuses(folder)]))
    return 0


def _table(statuses: list[Status]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("run", overflow="fold")
    for heading in ("job", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("step", "images/s", "to go", "job ends in", "restarts"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("last alarm")
    for status in statuses:
        table.add_row(_short(status.run), status.job_id or "-", status.state, *_progress_cells(status))
    return table


def _short(run: Path) -> str:
    """Relative where it lies below the working folder."""
    path = run.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _progress_cells(status: Status) -> list[str]:
    left = status.time_left or "-"
    progress = status.progress
    if progress is None:
        return ["-", "-", "-", left, str(status.restarts), "-"]
    speed, seconds = progress.images_per_second, progress.seconds_to_go
    return [
        f"{progress.step:,}/{progress.num_steps:,}",
        "-" if speed is None else f"{speed:,.0f}",
        "-" if seconds is None else str(timedelta(seconds=round(seconds))),
        left,
        str(status.restarts),
        progress.alarm or "-",
    ]
