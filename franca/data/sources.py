"""Recognises what the user points to, and opens it. A new kind of source is one file and a line here."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from franca.config.schema import DataConfig, PerformanceConfig, SyntheticConfig
from franca.data.custom import is_custom, open_custom
from franca.data.decode import EXTENSIONS
from franca.data.folder import FolderSource, files_below
from franca.data.mixture import MixtureSource, mix
from franca.data.openers import is_remote, require_opener, scheme_of
from franca.data.passed_over import in_words
from franca.data.record import Record
from franca.data.sample import BadSample, Sample, Source
from franca.data.segmentation.layouts import is_split, open_split
from franca.data.shard_cache import GIB, RemoteSettings
from franca.data.shards import shard_list
from franca.data.synthetic import SyntheticSource
from franca.data.webdataset import TarSource
from franca.errors import DataError

__all__ = ["KINDS", "BadSample", "Sample", "Source", "describe", "open_source", "open_training_source"]

Location = str | Sequence[str]
Split = Literal["train", "val"]

KINDS = {
    "folder": "folder",
    "tar": "tar shards",
    "synthetic": "drawn images",
    "custom": "your own source",
    "segmentation": "images with masks",
}
_NUM_TRIED = 16


def open_training_source(
    data: DataConfig, performance: PerformanceConfig, *, split: Split = "train", record: Record | None = None
) -> Source:
    """The source that a recipe describes: one, or several with their shares.

    Args:
        data: Which.
        performance: How shards that lie elsewhere are fetched and kept.
        split: Which drawn images.
        record: What the data were when the run began; its shards and their counts are taken as they were.

    Raises:
        DataError: As `open_source`.
    """
    settings = remote_settings(performance)
    locations: Sequence[Location] = [data.train or ""]
    if data.weights and isinstance(data.train, list):
        locations = data.train
    entries: Record = [{}] * len(locations)
    if record and [entry["location"] for entry in record] == list(map(_text, locations)):
        entries = record
    sources = [
        TarSource.of_counts(entry["shards"], _text(location), remote=settings)
        if "shards" in entry
        else open_source(location, kind=data.kind, split=split, synthetic=data.synthetic, remote=settings)
        for location, entry in zip(locations, entries, strict=True)
    ]
    return mix(sources, data.weights) if data.weights else sources[0]


def remote_settings(performance: PerformanceConfig) -> RemoteSettings:
    """How shards that lie elsewhere are fetched and kept."""
    settings = RemoteSettings(
        max_bytes=int(performance.cache_gib * GIB),
        timeout_seconds=performance.remote_timeout_seconds,
        retries=performance.remote_retries,
    )
    if performance.cache_dir is None:
        return settings
    folder = Path(performance.cache_dir).expanduser() / "franca-shards"  # what the user names may hold other tars
    return replace(settings, folder=folder)


def open_source(
    location: Location,
    *,
    kind: str = "auto",
    split: Split = "train",
    synthetic: SyntheticConfig | None = None,
    labels: bool = False,
    extras: Collection[str] = (),
    masks: str | None = None,
    remote: RemoteSettings | None = None,
) -> Source:
    """Opens a source of images.

    Args:
        location: A folder, tars (path, folder, glob, braces, address, ``@file``, list of these), ``synthetic``,
            ``module:callable``, or ``DIR:split`` for a folder with masks.
        kind: ``folder``, ``tar``, ``synthetic``, ``custom`` or ``segmentation``; ``auto`` recognises it.
        split: Which drawn images; files know no splits.
        synthetic: What to draw; None takes the defaults.
        labels: Whether every sample must have a label.
        extras: What rides along with the images of tars, of ``caption`` and ``json``.
        masks: Which masks of ``DIR:split``, where it has several; see `franca.data.segmentation.layouts.open_split`.
        remote: How shards that lie elsewhere are fetched and kept.

    Raises:
        DataError: Nothing is there, it holds no readable image, or it has no labels although asked for.
    """
    if kind not in ("auto", *KINDS):
        raise DataError(f"Unknown kind of data {kind!r}. Expected one of: auto, {', '.join(KINDS)}.")
    if not location:
        raise DataError(f"No data given. Expected {_EXPECTED}.")
    if kind == "auto":
        kind = _recognise(location)
    if (kind == "synthetic") != (_text(location) == "synthetic"):
        raise DataError(f"{_text(location)} is not of kind {kind}. Drawn images are called synthetic and have no path.")
    if kind == "synthetic":
        return SyntheticSource(synthetic or SyntheticConfig(), split)
    source: Source
    if kind == "folder":
        source = FolderSource(_one_folder(location), labels=labels)
    elif kind == "custom":
        source = open_custom(_text(location))
    elif kind == "segmentation":
        source = open_split(_text(location), masks=masks)
    else:
        shards = shard_list(location)
        for opener in {scheme_of(shard): shard for shard in shards if isinstance(shard, str)}.values():
            require_opener(opener)
        source = TarSource(shards, _text(location), labels=labels, extras=extras, remote=remote)
    _require_readable(source)
    return source


_EXPECTED = "a folder, tars (path, glob, braces, list, @file, address), DIR:split, module:callable, or synthetic"


def describe(source: Source) -> str:
    """One line on what was found, such as ``tar shards, 19 files, 9,469 images, 10 classes``."""
    if isinstance(source, MixtureSource):
        parts = zip(source.shares, source.sources, strict=True)
        return "mixture: " + "; ".join(f"{share:.1%} {describe(part)} ({part.location})" for share, part in parts)
    words = [KINDS.get(source.kind, source.kind)]
    if isinstance(source, TarSource):
        words[0] += f" ({', '.join(source.layout)})" if source.layout else ""
        words.append(_count(len(source.group_sizes), "file"))
    words.append(_count(len(source), "image"))
    names = source.class_names or getattr(source, "mask_names", None)
    if names is not None:
        words.append(_count(len(names), "class", "classes"))
    if passed_over := getattr(source, "passed_over", None):
        words.append(f"other files passed over: {in_words(passed_over)}")
    return ", ".join(words)


def _recognise(location: Location) -> str:
    """The kind of a location: a folder with any image in it is a folder, one with only tars is tar shards."""
    text = _text(location)
    if text == "synthetic":
        return "synthetic"
    if not isinstance(location, str) and len(location) > 1:
        return "tar"
    if is_remote(text) or text.startswith("@"):
        return "tar"
    if is_split(text):
        return "segmentation"
    root = Path(os.path.expanduser(text))
    if root.is_dir():
        return _holds(root)
    if root.is_file() and root.suffix != ".tar":
        raise DataError(f"{root} is neither a folder nor a .tar. Expected {_EXPECTED}.")
    return "custom" if is_custom(text) else "tar"


def _holds(root: Path) -> str:
    tars = False
    for file in files_below(root):
        if file.lower().endswith(EXTENSIONS):
            return "folder"
        tars = tars or file.endswith(".tar")
    return "tar" if tars else "folder"


def _one_folder(location: Location) -> Path:
    if not isinstance(location, str) and len(location) > 1:
        raise DataError(
            f"Expected one folder, got {len(location)}: {_text(location)}. Several are mixed with data.weights, one "
            "number for each."
        )
    return Path(os.path.expanduser(_text(location)))


def _require_readable(source: Source) -> None:
    """Finds out at the start, not after a minute, when nothing can be read."""
    tried = range(0, len(source), max(1, len(source) // _NUM_TRIED))[:_NUM_TRIED]
    problems = []
    for index in tried:
        try:
            source.read(index)
        except BadSample as problem:
            problems.append(str(problem))
        else:
            return
    raise DataError(
        f"No readable image in {source.location}: all {len(tried)} that were tried of {len(source):,} failed "
        f"({'; '.join(problems[:3])})."
    )


def _text(location: Location) -> str:
    return location if isinstance(location, str) else ", ".join(location)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
