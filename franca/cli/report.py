"""``franca report RUN…``: a page for each run."""

from __future__ import annotations

import argparse
from pathlib import Path

from franca.cli.output import plain_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Run folders."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folders")


def run(args: argparse.Namespace) -> int:
    """Write RUN/report.html for every run."""
    from franca.report.run_report import write_run_report  # matplotlib and torch take seconds to import

    console = plain_console()
    for folder in args.runs:
        console.print(f"wrote {write_run_report(folder)}", soft_wrap=True)
    return 0
