"""Do released weights compute here what they compute in their authors' code?

    FRANCA_REFERENCE_DINOV2=DIR FRANCA_REFERENCE_FRANCA=DIR python -m benchmarks.parity --only vits14 vitb14

The variables name checkouts of github.com/facebookresearch/dinov2 and github.com/valeoai/Franca; the models of one that
is not named are left out. Every model that has released weights is built there with random weights, all of them, saved
as its authors save it, and loaded here with `franca.load`. Class, register and patch embeddings of all calls are
compared, with masks and without, for every image size. Prints a table; the exit code is 1 where an output is further
from the reference than 1e-5 of its largest number. The largest models take 20 GB of memory and 5 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import franca
from benchmarks.reference_outputs import OUTPUTS_FILE, WEIGHTS_FILE, Size, outputs, parse_size
from franca.models.releases import WEIGHTS

ROOT = Path(__file__).parents[1]
VARIABLES = {"dinov2": "FRANCA_REFERENCE_DINOV2", "franca": "FRANCA_REFERENCE_FRANCA"}
SIZES = ("224x224", "224x280", "294x210", "518x518")
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """A named model, and the image size that its stored position embeddings belong to."""

    name: str
    grid_px: int

    @property
    def variable(self) -> str:
        """The environment variable that names a checkout of its reference."""
        return VARIABLES[self.name.partition("_")[0]]


@dataclass(frozen=True)
class Difference:
    """How far our outputs for one image size are from the reference's."""

    size: Size
    worst: float  # the largest relative error of all outputs
    output: str  # where it is
    num_outputs: int


CASES = tuple(dict.fromkeys(Case(one.model, one.image_size_px[0]) for one in WEIGHTS if one.public))


def main() -> int:
    """Compare what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="models whose name holds one of these")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="HxW", help="multiples of 14")
    args = parser.parse_args()
    cases = [case for case in CASES if case.variable in os.environ and any(text in case.name for text in args.only)]
    if not cases:
        parser.error(f"nothing to compare: set {' or '.join(VARIABLES.values())} to a checkout, and check --only")
    failed = 0
    print(f"{'model':20} {'grid':>4} {'size':>9} {'outputs':>7} {'error':>8} {'seconds':>7}  largest error in")
    for case in cases:
        started = time.perf_counter()
        for found in compare(case, [parse_size(size) for size in args.sizes]):
            ok = found.worst <= TOLERANCE
            failed += not ok
            size = "x".join(map(str, found.size))
            seconds = time.perf_counter() - started
            print(
                f"{case.name:20} {case.grid_px // 14:4} {size:>9} {found.num_outputs:7} {found.worst:8.1e} "
                f"{seconds:7.0f}  {found.output}{'' if ok else '  FAILED'}",
                flush=True,
            )
    print(f"{failed} of {len(cases) * len(args.sizes)} comparisons are beyond {TOLERANCE:g}.")
    return 1 if failed else 0


def compare(case: Case, sizes: Sequence[Size]) -> Iterator[Difference]:
    """Run the reference in a process of its own, then load its weights and compare all outputs, one size at a time."""
    with tempfile.TemporaryDirectory() as folder:
        run_reference(case, sizes, folder)
        weights = Path(folder) / WEIGHTS_FILE
        model = franca.load(case.name, weights=str(weights), image_size_px=case.grid_px, verbose=False)
        weights.unlink()
        expected = torch.load(Path(folder) / OUTPUTS_FILE)
    for images, masks, wanted in expected:
        with torch.inference_mode():
            found = outputs(model, images, masks)
        errors = {name: relative_error(found[name], wanted[name]) for name in wanted}
        worst = max(errors, key=errors.__getitem__)
        height, width = images.shape[2:]
        yield Difference((height, width), errors[worst], worst, len(errors))


def run_reference(case: Case, sizes: Sequence[Size], folder: str) -> None:
    """Let the checkout write its weights and outputs."""
    command = [sys.executable, "-m", "benchmarks.reference_outputs", case.name, "--grid-px", str(case.grid_px)]
    command += ["--folder", folder, "--sizes", *(f"{height}x{width}" for height, width in sizes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XFORMERS_DISABLED": "1", "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, cwd=os.environ[case.variable], env=environment, check=True)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """The largest difference over the largest number; infinite where shapes differ or a number is not finite."""
    if found.shape != wanted.shape:
        return float("inf")
    if wanted.numel() == 0:
        return 0.0
    error = ((found - wanted).abs().max() / wanted.abs().max()).item()
    return error if error == error else float("inf")


if __name__ == "__main__":
    sys.exit(main())
