"""``franca eval``: judges a model by protocols; prints a table and writes a JSON report."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from franca.cli.output import check_writable
from franca.config.recipes import parse_overrides
from franca.data.sources import describe, open_source
from franca.errors import ConfigError
from franca.evaluation import evaluate as evaluation
from franca.evaluation.exports import choose_exports, collect, results_folder
from franca.evaluation.protocols import PROTOCOLS, read_options
from franca.evaluation.report import Report
from franca.features.backbone import open_backbone

RESERVED = ("train", "val", "out")


@dataclass(frozen=True)
class Request:
    """What the ``key=value`` words of the command line ask for."""

    train: str | list[str]
    val: str | list[str]
    out: Path | None
    overrides: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``franca eval``."""
    parser.add_argument("protocols", metavar="PROTOCOL[,PROTOCOL]", help=", ".join(PROTOCOLS))
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run folder, an exported file, a name such as franca_vitb14, or module:callable",
    )
    parser.add_argument(
        "words",
        metavar="key=value",
        nargs="*",
        help="train=SRC and val=SRC (class folders, tars with .cls, or synthetic), out=FILE.json, and options of the "
        "protocols, of the features (image_size_px, batch_size, workers, device, precision) and of synthetic.*",
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
    if args.exports is not None:
        return _run_exports(args, request)
    if args.element is not None:
        raise ConfigError("--element chooses one of --exports; give both")
    _evaluate(args.protocols, args.model, request)
    return 0


def _run_exports(args: argparse.Namespace, request: Request) -> int:
    """Evaluates exported teachers that have no report yet; prints the table of all."""
    run = Path(os.path.expanduser(args.model))
    exports = choose_exports(run, args.exports)
    if args.element is not None and not 0 <= args.element < len(exports):
        raise ConfigError(f"--element {args.element}: expected a number from 0 to {len(exports) - 1}")
    folder = results_folder(run, args.protocols, args.words)
    for export in exports if args.element is None else [exports[args.element]]:
        out = folder / f"{export.stem}.json"
        # The newest teacher changes while its run goes on; the others never do.
        if not out.is_file() or out.stat().st_mtime < export.stat().st_mtime:
            _evaluate(args.protocols, str(export), replace(request, out=out))
    table = collect(folder, request.out)
    print(f"\n{table.read_text(encoding='utf-8')}\nwrote {table}")
    return 0


def _evaluate(protocols: str, model: str, request: Request) -> None:
    """One model: features, protocols, table, JSON."""
    options = read_options(protocols.split(","), request.overrides)
    common = options.common
    backbone = open_backbone(model, pretrained=common.model.pretrained, weights=common.model.weights)
    train = open_source(request.train, split="train", synthetic=common.synthetic, labels=True)
    val = open_source(request.val, split="val", synthetic=common.synthetic, labels=True)
    console = Console(stderr=True)
    for role, source in (("train", train), ("val", val)):
        console.print(f"{role:<6} {source.location}: {describe(source)}", markup=False, highlight=False, soft_wrap=True)
    with _progress_bars(console) as progress:
        report = evaluation.evaluate(
            backbone, train, val, options.protocols, name=model, features=common.features, progress=progress
        )
    _show(report, request.out)


def read_request(words: Sequence[str]) -> Request:
    """Splits ``train=``, ``val=`` and ``out=`` from the options.

    Raises:
        ConfigError: ``train=`` or ``val=`` is missing, a word is not ``key=value``, or ``out=`` is a folder.
    """
    overrides = parse_overrides(words)
    texts = dict(word.split("=", 1) for word in words)
    missing = [role for role in ("train", "val") if role not in overrides]
    if missing:
        needed = " and ".join(f"{role}=SRC" for role in missing)
        raise ConfigError(f"{needed} missing: give class folders, tars with .cls, or synthetic")
    out = Path(os.path.expanduser(texts["out"])) if "out" in texts else None
    if out is not None:
        check_writable(out, "out")
    train, val = (
        # A list is read as YAML; any other text is a path as it stands, whatever YAML would make of it.
        overrides[role] if isinstance(overrides[role], list) else texts[role]
        for role in ("train", "val")
    )
    return Request(train, val, out, {key: value for key, value in overrides.items() if key not in RESERVED})


def _show(report: Report, out: Path | None) -> None:
    """The table on standard output; the notes below it; the JSON where it is wanted."""
    console = Console()
    console.print(report.table())
    for result in report.results:
        for note in result.notes:
            console.print(f"{result.protocol}: {note}", markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        report.write(out)
        console.print(f"wrote {out}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress_bars(console: Console) -> Iterator[evaluation.Progress]:
    """One bar for each of train and val, on a terminal; nothing elsewhere."""
    columns = (TextColumn("{task.description:<6}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def update(role: str, done: int, total: int) -> None:
            if role not in tasks:
                tasks[role] = bars.add_task(role, total=total)
            bars.update(tasks[role], completed=done)

        yield update
