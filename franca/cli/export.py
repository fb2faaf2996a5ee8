"""``franca export``: writes a backbone for another program, and checks that the program computes the same."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from franca.cli.output import plain_console
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
    parser.add_argument(
        "--rasa",
        type=Path,
        metavar="FILE",
        help="the projector of this model, of franca rasa fit: adds the output patches_rasa (onnx), or is folded",
    )
    parser.add_argument(
        "--fold-rasa",
        type=Path,
        metavar="HEAD",
        help="a file with the linear layer that reads patch tokens; writes it with the projector folded in, beside OUT",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Exports, and prints what was compared and how to load it."""
    from franca.export.export_backbone import (
        check_place,
        check_tolerance,
        export_backbone,
    )  # torch takes seconds to import
    from franca.export.folded_head import check_folded_place, fold_head
    from franca.features.backbone import open_backbone
    from franca.models.fingerprint import fingerprint
    from franca.models.projector_file import read_projector
    from franca.models.vision_transformer import VisionTransformer

    out = args.out.expanduser()
    check_place(out, args.format, overwrite=args.overwrite)
    check_tolerance(args.tolerance)
    check_rasa(args)
    if args.fold_rasa:
        check_folded_place(out, overwrite=args.overwrite)
    backbone = open_backbone(args.model, pretrained=not args.no_pretrained, weights=args.weights)
    if not isinstance(backbone, VisionTransformer):
        raise ConfigError(f"{args.model} is a {type(backbone).__name__}, but only backbones of franca can be exported.")
    projector = read_projector(args.rasa.expanduser(), fingerprint(backbone)) if args.rasa else None
    head = None
    if projector is not None and args.fold_rasa:
        head = fold_head(args.fold_rasa.expanduser(), projector, tolerance=args.tolerance)
    else:
        backbone.attach_projector(projector)
    done = export_backbone(
        backbone, out, args.format, size_px=args.size, tolerance=args.tolerance, overwrite=args.overwrite
    )
    console = plain_console(soft_wrap=True)
    height, width = done.size_px
    console.print(f"wrote {done.path}: {done.num_bytes / 1e6:.1f} MB, {done.seconds:.1f} s")
    differences = ", ".join(f"{output} {value:.1e}" for output, value in done.differences.items())
    console.print(f"read back by {done.reader} in a process of its own, on random images of {height}x{width}")
    console.print(f"largest difference over largest value: {differences} (allowed {args.tolerance:.1e})")
    console.print(done.usage)
    if head is not None:
        console.print(
            f"wrote {head.write(out)}: {args.fold_rasa.name} for raw patch tokens, difference {head.difference:.1e}"
        )
    return 0


def check_rasa(args: argparse.Namespace) -> None:
    """Raises a ConfigError where a projector is asked for that the export cannot hold."""
    if args.fold_rasa and not args.rasa:
        raise ConfigError("--fold-rasa HEAD folds the projector of --rasa FILE into HEAD: give both")
    if args.rasa and not args.fold_rasa and not FORMATS[args.format].projects:
        able = ", ".join(name for name, form in FORMATS.items() if form.projects)
        raise ConfigError(
            f"format {args.format} holds the layers of a backbone, and no projector behind its last norm. Choose of "
            f"{able}; or fold it into the linear layer that reads the patch tokens, --fold-rasa HEAD; or use the file "
            "as it is: franca.load(MODEL, rasa=FILE)"
        )


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from ``280x224``, or from one number for both."""
    match = SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give one number, or HEIGHTxWIDTH as in 280x224")
    height = int(match[1])
    return height, int(match[2] or height)
