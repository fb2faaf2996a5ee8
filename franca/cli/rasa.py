"""``franca rasa``: takes position out of patch features, by a projector in a file of its own."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from franca.cli.bars import pass_bar, progress_bars
from franca.cli.data_options import split
from franca.cli.output import plain_console
from franca.cli.rasa_options import FitOptions, output_path, read_options
from franca.data.sources import Source, describe, open_source
from franca.distributed.device import resolve_device
from franca.distributed.process_group import process_group
from franca.distributed.ranks import resolve_ranks
from franca.distributed.together import on_rank_zero
from franca.errors import CheckpointError, ConfigError
from franca.evaluation.dense.score import incontext_score
from franca.features.backbone import open_backbone
from franca.features.extract import extract
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.patches import PatchTable
from franca.features.table import Wanted
from franca.models.fingerprint import fingerprint
from franca.models.projector_file import ProjectorFile, read_projector_file
from franca.models.tensor_file import read_tensors
from franca.rasa.fit import Fitted, fit
from franca.rasa.released import ReleasedHead

USAGE = """\
franca rasa fit MODEL data=SRC out=FILE [key=value …]   find what position takes up in the patch features of a model
franca rasa convert HEAD MODEL out=FILE                 make a projector of a RASA head of the paper's authors
franca rasa show FILE                                   print what a fit has found

MODEL and SRC are what franca eval takes; labels are not needed. The file is used as rasa=FILE by franca.load,
torch.hub.load and franca eval, and as --rasa FILE by franca export.

fit      directions=regressor, with solver=adamw (iterations=8 epochs=5 learning_rate=0.002 batch_images=128) or
         solver=lbfgs; or directions=covariance
         score=DIR:split tells in-context mean IoU after every round; stop=best keeps the rounds up to the best
         held_out=0.2 of the images judge; seed=0; weights=… and pretrained=false for a MODEL that is a name
         options of features: image_size_px, fit, batch_size, workers, device, precision, cache
         synthetic.num_images=… and the like of drawn images"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``franca rasa``."""
    parser.usage, parser.description = "franca rasa ACTION …", USAGE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=tuple(_ACTIONS), help="what to do")
    parser.add_argument("words", nargs="*", metavar="WORD", help="what the action takes")


def run(args: argparse.Namespace) -> int:
    """Do the action; the exit code is 0."""
    _ACTIONS[args.action](*split(args.words))
    return 0


def _fit(paths: Sequence[str], words: Sequence[str]) -> None:
    (model,) = _exactly(paths, ("MODEL",), "fit MODEL data=SRC out=FILE [key=value …]")
    options = read_options(words)
    assert options.out is not None and options.data is not None  # read_options demands them
    out = output_path(options.out)
    ranks = resolve_ranks(os.environ)
    device = resolve_device(options.features.device, ranks)
    console = plain_console(stderr=True, quiet=ranks.rank > 0, soft_wrap=True)
    with process_group(ranks, device):
        source = _open(options.data, "train", options, console, "data")
        scored = None if options.score is None else _open(options.score, "val", options, console, "score")
        backbone = open_backbone(model, pretrained=options.pretrained, weights=options.weights)
        judged = FeatureModel(backbone, model)
        with progress_bars(console) as progress:
            tables = {
                name: _patches(judged, one, options, device, lambda *now, name=name: progress(name, *now))
                for name, one in (("data", source), ("score", scored))
                if one is not None
            }
        with pass_bar(console) as told:
            score = incontext_score(judged, tables["score"], device) if "score" in tables else None
            found = fit(tables["data"], options.rasa, device=device, score=score, progress=told)
        settings = asdict(options.rasa) | {"num_images": len(tables["data"]), "grid": list(tables["data"].grid)}
        file = ProjectorFile(found.projector, judged.fingerprint, settings, found.table())
        on_rank_zero(lambda: file.write(out))
    if ranks.rank == 0:
        _show_fit(found, out)


def _open(location: str | list[str], drawn: str, options: FitOptions, console: Console, name: str) -> Source:
    source = open_source(
        location,
        split=drawn,  # type: ignore[arg-type]
        synthetic=options.synthetic,
        masks=options.images.masks if name == "score" else None,
    )
    console.print(f"{name:<6} {source.location}: {describe(source)}")
    return source


def _patches(
    model: FeatureModel,
    source: Source,
    options: FitOptions,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> PatchTable:
    """Patch features of a source, computed once and kept."""
    wanted = Wanted(patches=True, masks=hasattr(source, "mask_names"))
    patches = extract(Job(model, source, wanted, options.features, device), progress).patches
    if patches is None:
        raise ConfigError(f"{model.name} gives no patch embeddings: there is nothing to take position out of")
    return patches


def _convert(paths: Sequence[str], words: Sequence[str]) -> None:
    head_path, model = _exactly(paths, ("HEAD", "MODEL"), "convert HEAD MODEL out=FILE")
    given = dict(word.split("=", 1) for word in words)
    if set(given) != {"out"}:
        raise ConfigError("expected out=FILE and nothing else: franca rasa convert HEAD MODEL out=FILE")
    out = output_path(given["out"])
    head = ReleasedHead.of(read_tensors(os.path.expanduser(head_path))[0], source=head_path)
    backbone: Any = open_backbone(model)
    width = getattr(backbone, "embed_dim", head.projector.width)
    if width != head.projector.width:
        raise CheckpointError(f"{head_path} is for features of width {head.projector.width}, {model} has {width}.")
    settings = {"converted": Path(head_path).name, "rounds": len(head.weights)}
    ProjectorFile(head.projector, fingerprint(backbone), settings).write(out)
    print(f"{len(head.weights)} rounds, rank {head.projector.rank} of {width}")
    print(
        f"one after the other, as in the authors' code, they move a token by up to {head.difference:.2e} of its length"
    )
    print("more or less: there a later round puts back a part of what an earlier one removed, here none does")
    print(f"wrote {out}")


def _show(paths: Sequence[str], words: Sequence[str]) -> None:
    (path,) = _exactly(paths, ("FILE",), "show FILE")
    if words:
        raise ConfigError(f"franca rasa show FILE takes no options; found {' '.join(words)}")
    file = read_projector_file(os.path.expanduser(path))
    print(f"rank {file.projector.rank} of {file.projector.width}, for weights with hash {file.fingerprint}")
    print(", ".join(f"{key}={value}" for key, value in file.settings.items()))
    if file.table:
        plain_console().print(table_of(file.table, file.projector.rank))


def _show_fit(found: Fitted, out: Path) -> None:
    plain_console().print(table_of(found.table(), found.projector.rank))
    if found.kept < len(found.rounds) - 1:
        print(f"kept the first {found.kept} rounds, whose score is best")
    if found.kept == 0:
        print("no round scores better than none: this projector removes nothing")
    print(f"wrote {out}: rank {found.projector.rank} of {found.projector.width}")


def table_of(rounds: Sequence[Mapping[str, Any]], kept_rank: int) -> Table:
    """The rounds of a fit, the one that was kept in bold."""
    table = Table(title="position in patch features, on held-out images")
    scored = any(row["score"] is not None for row in rounds)
    names = ["round", "rank", "R2", "error", "energy removed", "variance removed", *(["mIoU"] if scored else [])]
    for name in names:
        table.add_column(name, justify="right")
    for row in rounds:
        cells = [str(row["iteration"]), str(row["rank"])]
        cells += [f"{round(row[key], 3) + 0.0:.3f}" for key in ("r2", "error")]  # 0.0 makes -0.000 a 0.000
        cells += [f"{100 * row[key]:.2f} %" for key in ("energy_removed", "variance_removed")]
        cells += [f"{100 * row['score']:.2f}"] if scored else []
        table.add_row(*cells, style="bold" if row["rank"] == kept_rank else None)
    return table


def _exactly(paths: Sequence[str], names: Sequence[str], usage: str) -> Sequence[str]:
    if len(paths) != len(names):
        found = " ".join(paths) or "none"
        raise ConfigError(f"expected {' and '.join(names)}, found {found}: franca rasa {usage}")
    return paths


_ACTIONS = {"fit": _fit, "convert": _convert, "show": _show}
