"""``franca extract``: writes the features of images to a file, for anyone."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

from franca.cli.bars import progress_bars
from franca.cli.options import options_of
from franca.cli.output import check_writable, plain_console
from franca.config.schema import SyntheticConfig, option
from franca.data.sources import Source, describe, open_source
from franca.distributed.device import resolve_device
from franca.distributed.process_group import process_group
from franca.distributed.ranks import Ranks, resolve_ranks
from franca.distributed.together import on_rank_zero
from franca.errors import ConfigError, DataError
from franca.features.backbone import open_backbone
from franca.features.extract import compute
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.parts import key_of, read_features
from franca.features.settings import FeatureSettings, ImageSettings, ModelSettings
from franca.features.table import Wanted


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(FeatureSettings, ModelSettings, ImageSettings):
    """What to write, beside the options of the model, the images and the features."""

    layers: int = option(1, low=1)
    """Class embeddings of so many last blocks; above 1 they are ``cls_layers`` [n, layers, D] beside ``cls``."""
    patch_mean: bool = False
    """Also the mean patch embedding, ``patch_mean`` [n, D]."""
    patches: bool = False
    """Also the patch embeddings, ``patches`` [n, h, w, D] in half precision, with ``mask`` where there are masks."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The drawn images, for SRC ``synthetic``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``franca extract``."""
    parser.add_argument("model", metavar="MODEL", help="as for franca eval")
    parser.add_argument("source", metavar="SRC", help="a folder, tars, DIR:split, or synthetic")
    parser.add_argument("out", metavar="OUT.safetensors", help="where the features go")
    parser.add_argument(
        "words",
        metavar="key=value",
        nargs="*",
        help="layers, patch_mean=true, patches=true; weights, pretrained; image_size_px, fit, batch_size, workers, "
        "device, precision; masks; synthetic.*",
    )


def run(args: argparse.Namespace) -> int:
    """Extracts what the file lacks; the exit code is 0."""
    out = Path(os.path.expanduser(args.out))
    if out.suffix != ".safetensors":
        raise ConfigError(f"OUT is {out}; expected a name that ends in .safetensors")
    check_writable(out, "OUT")
    settings = read_settings(args.words)
    ranks = resolve_ranks(os.environ)
    device = resolve_device(settings.device, ranks)
    with process_group(ranks, device):
        source = open_images(args.source, settings)
        backbone = open_backbone(args.model, pretrained=settings.pretrained, weights=settings.weights)
        wanted = Wanted(settings.layers, settings.patch_mean, settings.patches, masks=settings.patches)
        job = Job(FeatureModel(backbone, args.model).to(device), source, wanted, settings, device)
        _extract(job, out, ranks)
    return 0


def _extract(job: Job, out: Path, ranks: Ranks) -> None:
    console = plain_console(stderr=True, quiet=ranks.rank > 0, soft_wrap=True)
    console.print(f"{job.source.location}: {describe(job.source)}")
    key = on_rank_zero(job.loose_key)
    if on_rank_zero(out.exists) and key_of(out) != key:
        raise ConfigError(f"{out} holds other features: move it away, or choose another name")
    parts = out.with_name(f".{out.name}.{key[:12]}.parts")  # a call that is stopped leaves them; the same goes on
    with progress_bars(console) as progress:
        compute(job, parts, lambda done, total: progress("images", done, total), whole=out)
    if ranks.rank == 0:
        if parts.is_dir():
            parts.rmdir()
        table = read_features(out)
        console.print(f"{len(table):,} images, {len(table.skipped):,} unreadable")
        print(f"wrote {out}")


def read_settings(words: list[str]) -> ExtractSettings:
    """Options from ``key=value`` words.

    Raises:
        ConfigError: Unknown keys or wrong values; the message lists all.
    """
    return options_of(words, ExtractSettings, "the options of this extraction")


def open_images(location: str, settings: ExtractSettings) -> Source:
    """The images, with labels where they have some."""
    told = {"split": "train", "synthetic": settings.synthetic, "masks": settings.masks}
    try:
        return open_source(location, labels=True, **told)  # type: ignore[arg-type]
    except DataError:
        return open_source(location, **told)  # type: ignore[arg-type]
