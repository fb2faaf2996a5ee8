"""``franca eval``: judges a model by protocols; prints a table and writes a JSON report."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from franca.cli.bars import progress_bars
from franca.cli.output import check_writable, plain_console
from franca.config.recipes import parse_overrides
from franca.data.sources import Source, describe, open_source
from franca.distributed.device import resolve_device
from franca.distributed.process_group import process_group
from franca.distributed.ranks import Ranks, resolve_ranks
from franca.distributed.together import on_rank_zero
from franca.errors import ConfigError
from franca.evaluation import evaluate as evaluation
from franca.evaluation.curve import draw_prefixes
from franca.evaluation.exports import choose_exports, collect, results_folder
from franca.evaluation.prefixes import prefix_table
from franca.evaluation.protocols import LABELS, NOTHING, PROTOCOLS, Options, read_options, text_options
from franca.evaluation.report import Report
from franca.features.backbone import open_backbone
from franca.models.fingerprint import fingerprint
from franca.models.projector_file import read_projector

ROLES = ("train", "val")
RESERVED = (*ROLES, "data", "out")


@dataclass(frozen=True)
class Request:
    """What the ``key=value`` words of the command line ask for."""

    locations: dict[str, str | list[str]]  # by role
    out: Path | None
    overrides: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``franca eval``."""
    parser.add_argument("protocols", metavar="PROTOCOL[,PROTOCOL]", help=", ".join(PROTOCOLS))
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run folder, an exported file, a name such as franca_vitb14, timm:NAME, hub:REPO:NAME, or "
        "module:callable",
    )
    parser.add_argument(
        "words",
        metavar="key=value",
        nargs="*",
        help="train=SRC and val=SRC (class folders, tars with .cls, DIR:split with masks, or synthetic), "
        "out=FILE.json, rasa=FILE, and options of the protocols, of the features (image_size_px, batch_size, workers, "
        "device, precision, cache) and of synthetic.*",
    )
    parser.add_argument(
        "--exports",
        metavar="all|NAME,…",
        help="MODEL is a run: judge these of its exported teachers, and make one table",
    )
    parser.add_argument("--element", metavar="N", type=int, help="only the N-th of the exports, as in a job array")


def run(args: argparse.Namespace) -> int:
    """Evaluates and reports; the exit code is 0."""
    request = read_request(args.words)
    if args.element is not None and args.exports is None:
        raise ConfigError("--element chooses one of --exports; give both")
    ranks = resolve_ranks(os.environ)
    device = request.overrides.get("device", request.overrides.get("features.device", "auto"))
    with process_group(ranks, resolve_device(str(device), ranks)):
        if args.exports is not None:
            _run_exports(args, request, ranks)
        else:
            _evaluate(args.protocols, args.model, request, ranks)
    return 0


def _run_exports(args: argparse.Namespace, request: Request, ranks: Ranks) -> None:
    """Evaluates exported teachers that have no report yet; prints the table of all."""
    run = Path(os.path.expanduser(args.model))
    exports = choose_exports(run, args.exports)
    if args.element is not None and not 0 <= args.element < len(exports):
        raise ConfigError(f"--element {args.element}: expected a number from 0 to {len(exports) - 1}")
    folder = results_folder(run, args.protocols, args.words)
    for export in exports if args.element is None else [exports[args.element]]:
        out = folder / f"{export.stem}.json"
        # The newest teacher changes while its run goes on; the others never do.
        if on_rank_zero(partial(_is_outdated, out, export)):
            _evaluate(args.protocols, str(export), replace(request, out=out), ranks)
    if ranks.rank == 0:
        table = collect(folder, request.out)
        print(f"\n{table.read_text(encoding='utf-8')}\nwrote {table}")


def _is_outdated(report: Path, export: Path) -> bool:
    return not report.is_file() or report.stat().st_mtime < export.stat().st_mtime


def _evaluate(protocols: str, model: str, request: Request, ranks: Ranks) -> None:
    """One model: features, protocols, table, JSON."""
    options = read_options(protocols.split(","), request.overrides)
    common = options.common
    console = plain_console(stderr=True, quiet=ranks.rank > 0, soft_wrap=True)
    sources = open_sources(request, options)
    for role, source in sources.items():
        console.print(f"{role:<6} {source.location}: {describe(source)}", soft_wrap=True)
    evaluation.check_sources(options.protocols, sources)
    backbone = open_backbone(model, pretrained=common.model.pretrained, weights=common.model.weights)
    with progress_bars(console) as progress:
        report = evaluation.evaluate(
            backbone,
            sources.get("train"),
            sources.get("val"),
            options.protocols,
            name=model,
            features=common.features,
            projector=read_matrix(common.model.rasa, backbone),
            ranks=ranks,
            progress=progress,
        )
    if ranks.rank == 0:
        _show(report, request.out)


def open_sources(request: Request, options: Options) -> dict[str, Source]:
    """The images of every role that was given.

    Raises:
        ConfigError: The protocols need different kinds of images.
        DataError: They cannot be opened, or lack labels or masks.
    """
    needs = {PROTOCOLS[name].needs for name in options.protocols} - {NOTHING}
    if len(needs) > 1:
        raise ConfigError(
            "these protocols read different images: some need labels, some masks. Judge them in two calls"
        )
    return {
        role: open_source(
            location,
            split=role,  # type: ignore[arg-type]
            synthetic=options.common.synthetic,
            labels=needs == {LABELS},
            masks=options.common.images.masks,
        )
        for role, location in request.locations.items()
    }


def read_matrix(rasa: str | None, backbone: nn.Module) -> Tensor | None:
    """The projector in a file, [D, D] float32; None where there is no file.

    Raises:
        CheckpointError: It is no projector, or that of another backbone.
    """
    if rasa is None:
        return None
    return read_projector(os.path.expanduser(rasa), fingerprint(backbone)).matrix.float()


def read_request(words: Sequence[str]) -> Request:
    """Splits ``train=``, ``val=`` (or ``data=``, which is the same) and ``out=`` from the options.

    Raises:
        ConfigError: No images are given, a word is not ``key=value``, or ``out=`` is a folder.
    """
    overrides = parse_overrides(words, text_keys={*RESERVED, *text_options()})
    if "data" in overrides and "val" in overrides:
        raise ConfigError("data=SRC and val=SRC are the same: give one of them")
    locations: dict[str, str | list[str]] = {
        "val" if word == "data" else word: overrides[word]
        for word in ("train", "val", "data")
        if overrides.get(word) is not None
    }
    if not locations:
        raise ConfigError("train=SRC and val=SRC missing: give class folders, tars with .cls, DIR:split, or synthetic")
    out = None if overrides.get("out") is None else Path(os.path.expanduser(str(overrides["out"])))
    if out is not None:
        check_writable(out, "out")
    return Request(locations, out, {key: value for key, value in overrides.items() if key not in RESERVED})


def _show(report: Report, out: Path | None) -> None:
    """Tables on standard output; the notes below them; the JSON where it is wanted, with a picture of prefixes."""
    console = plain_console()
    console.print(report.table())
    prefixes = prefix_table(report.results)
    if prefixes is not None:
        console.print(prefixes)
    for result in report.results:
        for note in result.notes:
            console.print(f"{result.protocol}: {note}", soft_wrap=True)
    if out is not None:
        report.write(out)
        console.print(f"wrote {out}", soft_wrap=True)
        picture = out.with_name(f"{out.stem}_prefixes.png")
        if draw_prefixes(report.results, picture, title=report.model):
            console.print(f"wrote {picture}", soft_wrap=True)
