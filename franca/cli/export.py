"""``franca export``: writes a backbone for another program, and checks that the program computes the same."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from rich.console import Console

from franca.errors import ConfigError
from franca.export.formats import FORMATS, TOLERANCE

SIZE = re.compile(r"(\d+)(?:x(\d+))?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``franca export``."""
    parser.add_argument(
        "model", metavar="MODEL", help="a run folder, an exported file, or a name such as franca_vitb14"
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the file to write; a folder for format hf")
    formats = "; ".join(f"{name}: {form.summary}" for name, form in FORMATS.items())
    parser.add_argument("--format", required=True, choices=tuple(FORMATS), help=formats)
    parser.add_argument(
        "--size",
        type=parse_size,
        metavar="H[xW]",
        help="pixels; resizes the stored positions to this grid (default: the grid that the model has)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="X",
        help="allowed difference of an output over its largest value (default: %(default)s)",
    )
    parser.add_argument("--weights", metavar="WEIGHTS", help="weights for a MODEL that is a name")
    parser.add_argument("--no-pretrained", action="store_true", help="random weights for a MODEL that is a name")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Exports, and prints what was compared and how to load it."""
    from franca.export.export_backbone import (
        check_place,
        check_tolerance,
        export_backbone,
    )  # torch takes seconds to import
    from franca.features.backbone import open_backbone
    from franca.models.vision_transformer import VisionTransformer

    out = args.out.expanduser()
    check_place(out, args.format, overwrite=args.overwrite)
    check_tolerance(args.tolerance)
    backbone = open_backbone(args.model, pretrained=not args.no_pretrained, weights=args.weights)
    if not isinstance(backbone, VisionTransformer):
        raise ConfigError(f"{args.model} is a {type(backbone).__name__}, but only backbones of franca can be exported.")
    done = export_backbone(
        backbone, out, args.format, size_px=args.size, tolerance=args.tolerance, overwrite=args.overwrite
    )
    console = Console(highlight=False, markup=False, soft_wrap=True)
    height, width = done.size_px
    console.print(f"wrote {done.path}: {done.num_bytes / 1e6:.1f} MB, {done.seconds:.1f} s")
    differences = ", ".join(f"{output} {value:.1e}" for output, value in done.differences.items())
    console.print(f"read back by {done.reader} in a process of its own, on random images of {height}x{width}")
    console.print(f"largest difference over largest value: {differences} (allowed {args.tolerance:.1e})")
    console.print(done.usage)
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from ``280x224``, or from one number for both."""
    match = SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give one number, or HEIGHTxWIDTH as in 280x224")
    height = int(match[1])
    return height, int(match[2] or height)
