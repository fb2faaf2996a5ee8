"""``franca demo``: pretrain a small model on drawn images, judge it against its random twin, write a report."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from franca.cli.output import plain_console
from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.errors import STOPPED_EXIT_CODE

RECIPE = "demo"
NEEDED_GAIN = 0.10
"""What k-NN top-1 must gain over the twin for the demo to count as passed."""
NUM_LABELLED = 4000
"""Labelled training images that the judges get; pretraining itself saw no label."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Overrides of the demo recipe."""
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="options, as in train.seed=1")
    parser.add_argument("--fresh", action="store_true", help="move an earlier demo aside, and start anew")


def run(args: argparse.Namespace) -> int:
    """Train, judge, report; 0 when the learned model beats its twin by enough, 1 otherwise."""
    from franca.train.pretrain import Outcome, pretrain  # torch takes seconds to import

    config = load_recipe(RECIPE, args.overrides)
    config = replace(config, run=replace(config.run, dir=config.run.dir or f"runs/{RECIPE}"))
    console = plain_console(soft_wrap=True)
    command = shlex.join(["franca", "demo", *args.overrides])
    if pretrain(config, command=command, console=console, fresh=args.fresh) is Outcome.STOPPED:
        return STOPPED_EXIT_CODE
    return judge(config, Path(str(config.run.dir)), console)


def judge(config: Config, folder: Path, console: Console) -> int:
    """Compare the teacher at the end with the teacher at step 0, which is the same network with random weights."""
    from franca.report.comparison import compare, scores_section
    from franca.report.run_report import write_run_report
    from franca.train.checkpoint import step_name

    twin = folder / "exports" / f"teacher_{step_name(0)}.safetensors"
    learned = folder / "exports" / "teacher.safetensors"
    drawn = replace(config.data.synthetic, num_images=min(NUM_LABELLED, config.data.synthetic.num_images))
    comparison = compare({"random twin": twin, "learned": learned}, ("knn", "linear"), drawn)
    console.print(comparison.table())
    console.print(f"wrote {write_run_report(folder, [scores_section(comparison)])}", soft_wrap=True)
    scores = {name: report.result("knn").metrics["top1"] for name, report in comparison.reports.items()}
    gain = scores["learned"] - scores["random twin"]
    console.print(
        f"k-NN top-1: learned {scores['learned']:.1%}, random twin {scores['random twin']:.1%}, "
        f"gain {100 * gain:.1f} points (at least {100 * NEEDED_GAIN:.0f} needed)",
        soft_wrap=True,
    )
    return 0 if gain >= NEEDED_GAIN else 1
