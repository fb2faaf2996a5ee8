"""``franca pretrain RECIPE [key=value …] [--dry-run] [--fresh]``."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

from franca.cli.output import plain_console
from franca.config.recipes import load_recipe
from franca.errors import STOPPED_EXIT_CODE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recipe, overrides and two flags."""
    parser.add_argument("recipe", metavar="RECIPE", help="a name that `franca config list` shows, or a YAML file")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="options, as in train.steps=1000")
    parser.add_argument("--dry-run", action="store_true", help="build without weights, print sizes, and stop")
    parser.add_argument("--fresh", action="store_true", help="move a run already in the folder aside, and start anew")


def run(args: argparse.Namespace) -> int:
    """Train; the same command again resumes."""
    config = load_recipe(args.recipe, args.overrides)
    if config.run.dir is None:
        run_dir = Path("runs") / Path(args.recipe).stem
        config = replace(config, run=replace(config.run, dir=str(run_dir)))
    from franca.train.pretrain import Outcome, pretrain  # after the recipe is known to be right: torch takes seconds

    flags = [flag for flag, given in (("--dry-run", args.dry_run), ("--fresh", args.fresh)) if given]
    outcome = pretrain(
        config,
        command=shlex.join(["franca", "pretrain", args.recipe, *args.overrides, *flags]),
        console=plain_console(soft_wrap=True),
        fresh=args.fresh,
        dry_run=args.dry_run,
    )
    return STOPPED_EXIT_CODE if outcome is Outcome.STOPPED else 0
