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
from franca.distributed.in_step import ShouldStop
from franca.distributed.ranks import Ranks
from franca.errors import ConfigError, DataError
from franca.evaluation.known import Known
from franca.evaluation.labels import check_classes, check_several, no_labels
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
    should_stop: ShouldStop | None = None,
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
        should_stop: Asked between batches of images, and of k-NN's queries; one rank that is to stop breaks off the
            evaluation on all.

    Raises:
        ConfigError: A protocol lacks images it needs, or the model is none.
        DataError: The sources are not labelled, do not go together, or cannot be read.
        BrokenOff: A rank was asked to stop.
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
        should_stop=should_stop,
    )
    check_settings(protocols, Known.of(sources, subject.width()))
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
        DataError: Images lack labels or masks, are too few, of one class, or classes do not go together. Of labels that
            a source knows only as it reads images, this is told once they are read.
    """
    for name in protocols:
        missing = [role for role in PROTOCOLS[name].roles if role not in sources]
        if missing:
            raise ConfigError(f"{' and '.join(f'{role}=SRC' for role in missing)} missing: {name} needs it")
        for role in PROTOCOLS[name].roles:
            _check_source(name, role, sources[role])
    known = Known.of(sources)
    if any(PROTOCOLS[name].needs == LABELS for name in protocols):
        train_names, val_names = (sources[role].class_names or () for role in ("train", "val"))
        check_several(list(known.class_counts.get("train", train_names)))
        check_classes(train_names, val_names)
    check_settings(protocols, known)


def check_settings(protocols: Mapping[str, Any], known: Known) -> None:
    """Raises a ConfigError or a DataError where the settings of a protocol do not fit what is known."""
    for name, settings in protocols.items():
        PROTOCOLS[name].check(settings, known)


def _check_source(name: str, role: str, source: Source) -> None:
    needs = PROTOCOLS[name].needs
    if needs == LABELS and source.class_names is None:
        raise no_labels(role)
    if needs == MASKS and getattr(source, "mask_names", None) is None:
        raise DataError(
            f"{role}={source.location} has no masks, which {name} needs; expected DIR:split of a folder laid out as "
            "Pascal VOC or ADE20K, or synthetic"
        )
