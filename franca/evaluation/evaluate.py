"""Judges a backbone by several protocols, computing its features once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any

from torch import nn

from franca.data.sample import Source
from franca.distributed.device import resolve_device, resolve_precision
from franca.evaluation.labels import check_classes
from franca.evaluation.protocols import PROTOCOLS
from franca.evaluation.report import Report
from franca.features.backbone import fingerprint, preprocessing_of
from franca.features.extract import extract
from franca.features.settings import FeatureSettings
from franca.features.table import FeatureTable

DEFAULT_FEATURES = FeatureSettings()
Progress = Callable[[str, int, int], None]  # (train or val, images done, images in all)


def evaluate(
    backbone: nn.Module,
    train: Source,
    val: Source,
    protocols: Mapping[str, Any],
    *,
    name: str,
    features: FeatureSettings = DEFAULT_FEATURES,
    progress: Progress | None = None,
) -> Report:
    """What every protocol finds about ``backbone``.

    Args:
        train: Labelled images that neighbours are looked for in, and probes are trained on.
        val: Labelled images that are classified; classes are matched with train's by name.
        protocols: Protocol name to its settings, as `franca.evaluation.protocols.read_options` gives them.
        name: How the report calls the model.
        progress: Called after every batch of images.

    Raises:
        DataError: The sources are not labelled, do not go together, or cannot be read.
    """
    if train.class_names is not None and val.class_names is not None:
        check_classes(train.class_names, val.class_names)  # now rather than after an hour of features
    wanted = reduce(or_, (PROTOCOLS[protocol].wanted(settings) for protocol, settings in protocols.items()))
    device = resolve_device(features.device)
    tables = {
        role: extract(
            backbone,
            source,
            wanted,
            image_size_px=features.image_size_px,
            batch_size=features.batch_size,
            workers=features.workers,
            device=device,
            precision=features.precision,
            progress=_for_role(progress, role),
        )
        for role, source in (("train", train), ("val", val))
    }
    shared = _settings(backbone, features, tables) | {"train": train.location, "val": val.location}
    results = []
    for protocol, settings in protocols.items():
        result = PROTOCOLS[protocol].run(tables["train"], tables["val"], settings, device)
        notes = (*result.notes, *_skipped(tables))
        results.append(replace(result, settings={**result.settings, **shared}, notes=notes))
    return Report(name, tuple(results))


def _settings(backbone: nn.Module, features: FeatureSettings, tables: Mapping[str, FeatureTable]) -> dict[str, Any]:
    """What else it takes to get the same numbers again."""
    preprocessing = preprocessing_of(backbone)
    device = resolve_device(features.device)
    return {
        "image_size_px": features.image_size_px or preprocessing.image_size_px,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "device": str(device),
        "precision": resolve_precision(features.precision, device),
        "width": tables["train"].width,
        "weights_sha256": fingerprint(backbone),
        **{f"num_{role}": len(table) for role, table in tables.items()},
    }


def _skipped(tables: Mapping[str, FeatureTable]) -> list[str]:
    """One note for each table that lacks images, with the first of them."""
    return [
        f"{role}= lacks {len(table.skipped)} unreadable images, the first is {table.skipped[0].key} "
        f"({table.skipped[0].reason})"
        for role, table in tables.items()
        if table.skipped
    ]


def _for_role(progress: Progress | None, role: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(role, done, total)
