"""Judges a backbone by several protocols, computing its features once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any

from torch import Tensor, nn

from franca.data.sample import Source
from franca.distributed.device import resolve_device
from franca.distributed.ranks import Ranks
from franca.errors import ConfigError, DataError
from franca.evaluation.labels import check_classes, check_several
from franca.evaluation.protocols import LABELS, MASKS, PROTOCOLS
from franca.evaluation.report import Report, versions
from franca.evaluation.subject import Progress, Subject
from franca.features.model import FeatureModel
from franca.features.settings import FeatureSettings

DEFAULT_FEATURES = FeatureSettings()


def evaluate(
    backbone: nn.Module,
    train: Source | None,
    val: Source | None,
    protocols: Mapping[str, Any],
    *,
    name: str,
    features: FeatureSettings = DEFAULT_FEATURES,
    projector: Tensor | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> Report:
    """What every protocol finds about ``backbone``; the same on every rank, whatever their number.

    Args:
        train: Images that neighbours are looked for in, and probes are trained on.
        val: Images that are judged; classes are matched with train's by name.
        protocols: Protocol name to its settings, as `franca.evaluation.protocols.read_options` gives them.
        name: How the report calls the model.
        projector: [D, D], which takes position out of patch features; dense protocols judge both.
        ranks: Where there are several, each takes its own device.
        progress: Called after every batch of images.

    Raises:
        ConfigError: A protocol lacks images it needs, or the model is none.
        DataError: The sources are not labelled, do not go together, or cannot be read.
    """
    sources = {role: source for role, source in (("train", train), ("val", val)) if source is not None}
    check_sources(protocols, sources)
    subject = Subject(
        model=FeatureModel(backbone, name),
        sources=sources,
        wanted=reduce(or_, (PROTOCOLS[protocol].wanted(settings) for protocol, settings in protocols.items())),
        features=features,
        device=resolve_device(features.device, ranks),
        projector=projector,
        progress=progress,
    )
    results = []
    for protocol, settings in protocols.items():
        result = PROTOCOLS[protocol].judge(subject, settings)
        about = {**result.settings, **subject.describe(), "versions": versions()}
        results.append(replace(result, settings=about, notes=(*result.notes, *subject.notes())))
    return Report(name, tuple(results))


def check_sources(protocols: Mapping[str, Any], sources: Mapping[str, Source]) -> None:
    """Now rather than after an hour of features: whether every protocol finds what it needs.

    Args:
        protocols: Name to settings.
        sources: By role.

    Raises:
        ConfigError: A set of images is missing, or an option leaves nothing to do.
        DataError: Images lack labels or masks, are too few, of one class, or classes do not go together.
    """
    for name in protocols:
        missing = [role for role in PROTOCOLS[name].roles if role not in sources]
        if missing:
            raise ConfigError(f"{' and '.join(f'{role}=SRC' for role in missing)} missing: {name} needs it")
        for role in PROTOCOLS[name].roles:
            _check_source(name, role, sources[role])
    if any(PROTOCOLS[name].needs == LABELS for name in protocols):
        train_names, val_names = sources["train"].class_names, sources["val"].class_names
        if train_names is not None and val_names is not None:
            check_several(train_names)
            check_classes(train_names, val_names)
    counts = {role: len(source) for role, source in sources.items()}
    for name, settings in protocols.items():
        PROTOCOLS[name].check(settings, counts)


def _check_source(name: str, role: str, source: Source) -> None:
    needs = PROTOCOLS[name].needs
    if needs == MASKS and getattr(source, "mask_names", None) is None:
        raise DataError(
            f"{role}={source.location} has no masks, which {name} needs; expected DIR:split of a folder laid out as "
            "Pascal VOC or ADE20K, or synthetic"
        )
