"""Whether the fast ways to train follow the loss of the exact one.

    python -m benchmarks.curve demo train.steps=200 --ways fp32,bf16,bf16+compile+fsdp --json curve.json

The recipe, with any ``key=value``, is trained once in each way from the same weights on the same samples, a process
each; the first way is the reference. ``compile`` is torch.compile per block, ``fsdp`` the sharded code path under
torchrun with one rank. Every loss is averaged over windows of steps; the table gives the largest and the mean distance
from the reference, relative to it. Beyond ``--band`` for the total loss of any window the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

Curve = dict[str, list[float]]  # from the name of a loss to its value at every step
TOTAL = "loss/total"


def main() -> None:
    """Train in every way, print how far each is from the first, and write it where told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=["fp32", "bf16", "bf16+compile+fsdp"])
    parser.add_argument("--window", type=int, default=10, help="steps that are averaged")
    parser.add_argument("--band", type=float, default=0.03, help="largest distance of the total loss that passes")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        runs = {way: train(args.recipe, args.overrides, way, Path(folder) / way) for way in args.ways}
    reference = runs[args.ways[0]]["curve"]
    for way in args.ways[1:]:
        runs[way]["distance"] = distance(runs[way]["curve"], reference, args.window)
        print(describe(way, runs[way], args.ways[0]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"window": args.window, "band": args.band, "runs": runs}, indent=2) + "\n")
    sys.exit(int(any(runs[way]["distance"][TOTAL]["largest"] > args.band for way in args.ways[1:])))


def train(recipe: str, overrides: Sequence[str], way: str, folder: Path) -> dict[str, Any]:
    """Train in one way; the losses of every step, and the seconds it took."""
    started = time.perf_counter()
    subprocess.run([*command(way), "pretrain", recipe, *overrides, *settings(way, folder)], check=True)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "curve": losses((folder / "metrics.jsonl").read_text())}


def command(way: str) -> list[str]:
    """What starts franca; sharding needs a process group, which torchrun makes."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m"]
    return [sys.executable, "-m", *(launcher if "fsdp" in way else []), "franca"]


def settings(way: str, folder: Path) -> list[str]:
    """The options of a way such as ``bf16+compile+fsdp``: a precision, then what is switched on."""
    precision, *switches = way.split("+")
    if unknown := set(switches) - {"compile", "fsdp"}:
        sys.exit(f"--ways: {way} names {', '.join(sorted(unknown))}; after the precision come compile and fsdp.")
    return [
        f"run.dir={folder}",
        "run.log_every_steps=1",
        f"performance.precision={precision}",
        f"performance.compile={'compile' in switches}",
        f"performance.parallel={'fsdp' if 'fsdp' in switches else 'none'}",
    ]


def losses(metrics: str) -> Curve:
    """Every loss of a ``metrics.jsonl``, step after step."""
    rows = [row for row in map(json.loads, metrics.splitlines()) if TOTAL in row]
    return {name: [row[name] for row in rows] for name in rows[0] if name.startswith("loss/")}


def distance(curve: Curve, reference: Curve, window: int) -> dict[str, dict[str, float]]:
    """Of every loss the largest and the mean |difference| / |reference| of averages over ``window`` steps."""
    found = {}
    for name, values in reference.items():
        pairs = zip(averages(curve[name], window), averages(values, window), strict=True)
        distances = [abs(value - expected) / abs(expected) for value, expected in pairs]
        found[name] = {"largest": max(distances), "mean": fmean(distances)}
    return found


def averages(values: Sequence[float], window: int) -> list[float]:
    """Means of consecutive windows; the last may be shorter."""
    return [fmean(values[start : start + window]) for start in range(0, len(values), window)]


def describe(way: str, run: Mapping[str, Any], reference: str) -> str:
    """One line of the table."""
    total = run["distance"][TOTAL]
    name, worst = max(run["distance"].items(), key=lambda item: item[1]["largest"])
    return (
        f"{way} beside {reference}: total loss differs by {100 * total['largest']:.2f} % at most, "
        f"{100 * total['mean']:.2f} % on average; most of all {name}, by {100 * worst['largest']:.2f} %; "
        f"last total {run['curve'][TOTAL][-1]:.4f}, {run['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
