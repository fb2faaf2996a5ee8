"""``franca viz``: draws what a model sees in images."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from franca.cli.bars import progress_bars
from franca.cli.options import options_of
from franca.cli.output import plain_console
from franca.config.schema import SyntheticConfig
from franca.data.decode import EXTENSIONS
from franca.data.sample import Source
from franca.data.sources import describe, open_source
from franca.distributed.device import resolve_device
from franca.errors import ConfigError
from franca.evaluation.subject import Progress
from franca.features.backbone import open_backbone
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.settings import FeatureSettings
from franca.features.table import Wanted
from franca.models.projector_file import read_projector
from franca.viz.attention import draw_attention
from franca.viz.images import OneImage
from franca.viz.neighbours import Searched, draw_neighbours
from franca.viz.pca import draw_pca
from franca.viz.settings import AttentionSettings, NeighbourSettings, PcaSettings
from franca.viz.sheet import Drawing
from franca.viz.view import View
from franca.viz.write import check_folder, write_drawings

USAGE = """\
franca viz pca MODEL SRC OUT [key=value …]          principal components of patch features, by one basis for all images
franca viz attention MODEL SRC OUT [key=value …]    attention of the class token in the last block, mean and heads
franca viz neighbours MODEL SRC OUT [key=value …]   nearest images, and nearest patches

MODEL is what franca eval takes. SRC is an image, a folder, tars, DIR:split, or synthetic. OUT is a folder: it gets
one PNG an image, and sheet.png with all.

pca         foreground=true colours only the foreground, threshold=0.5 says where it begins;
            rasa=FILE draws patches without position beside the raw ones
neighbours  k=6; search_images=1000 of SRC are searched; point=centre, norm or none, or points=[0.5,0.5,0.2,0.7];
            rasa=FILE as above; fit, batch_size, workers, cache as for franca eval
all         num_images=32 (neighbours: 8); image_size_px=448 or [448,672]; weights, pretrained, device, precision
            pca, attention: fit=keep (the whole image in its own shape), crop or stretch
            synthetic.size_px=… and the like of drawn images"""

Settings: TypeAlias = PcaSettings | AttentionSettings | NeighbourSettings
KINDS: dict[str, type[Settings]] = {
    "pca": PcaSettings,
    "attention": AttentionSettings,
    "neighbours": NeighbourSettings,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``franca viz``."""
    parser.usage, parser.description = "franca viz KIND MODEL SRC OUT [key=value …]", USAGE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("kind", choices=tuple(KINDS), help="what to draw")
    parser.add_argument("model", metavar="MODEL", help="as for franca eval")
    parser.add_argument("source", metavar="SRC", help="an image, or as for franca eval")
    parser.add_argument("out", metavar="OUT", help="the folder that the pictures go to")
    parser.add_argument("words", metavar="key=value", nargs="*", help="options")


def run(args: argparse.Namespace) -> int:
    """Draws; the exit code is 0."""
    settings = read_settings(args.kind, args.words)
    out = Path(os.path.expanduser(args.out))
    check_folder(out)
    device = resolve_device(settings.device)
    source = open_images(args.source, settings.synthetic)
    backbone = open_backbone(args.model, pretrained=settings.pretrained, weights=settings.weights)
    model = FeatureModel(backbone, args.model).to(device)
    console = plain_console(stderr=True, soft_wrap=True)
    console.print(f"{source.location}: {describe(source)}")
    with progress_bars(console) as progress:
        drawings = _draw(settings, model, source, device, progress)
    sheet = write_drawings(drawings, out)
    print(f"wrote {len(drawings):,} pictures and {sheet}")
    return 0


def _draw(
    settings: Settings, model: FeatureModel, source: Source, device: torch.device, progress: Progress
) -> list[Drawing]:
    projector = None
    if settings.rasa is not None:
        projector = read_projector(os.path.expanduser(settings.rasa), model.fingerprint)
    if isinstance(settings, NeighbourSettings):
        return draw_neighbours(Searched.of(model, source, settings, device, progress), settings, projector)
    features = FeatureSettings(image_size_px=settings.image_size_px, precision=settings.precision)
    job = Job(model, source, Wanted(patches=True), features, device)
    view = View(job, settings.num_images, settings.fit, progress)
    return draw_pca(view, settings, projector) if isinstance(settings, PcaSettings) else draw_attention(view)


def read_settings(kind: str, words: Sequence[str]) -> Settings:
    """Options from ``key=value`` words.

    Raises:
        ConfigError: Unknown keys or wrong values; the message lists all.
    """
    settings = options_of(words, KINDS[kind], f"the options of franca viz {kind}")
    if isinstance(settings, AttentionSettings) and settings.rasa is not None:
        raise ConfigError("rasa=FILE changes patch features, not attention; it is for franca viz pca and neighbours")
    return settings


def open_images(location: str, synthetic: SyntheticConfig) -> Source:
    """What SRC names: an image file, or any source. Drawn images are those that no run is trained on.

    Raises:
        DataError: There is no readable image.
    """
    path = Path(os.path.expanduser(location))
    if path.is_file() and path.suffix.lower() in EXTENSIONS:
        return OneImage(path)
    return open_source(location, split="val", synthetic=synthetic)
