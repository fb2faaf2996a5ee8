"""Recognises what the user points to, and opens it. A new kind of source is one file and a line here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from franca.config.schema import SyntheticConfig
from franca.data.decode import EXTENSIONS
from franca.data.folder import FolderSource, files_below
from franca.data.sample import BadSample, Sample, Source
from franca.data.shards import shard_paths
from franca.data.synthetic import SyntheticSource
from franca.data.webdataset import TarSource
from franca.errors import DataError

__all__ = ["KINDS", "BadSample", "Sample", "Source", "describe", "open_source"]

Location = str | Sequence[str]

KINDS = {"folder": "folder", "tar": "tar shards", "synthetic": "drawn images"}
_NUM_TRIED = 16


def open_source(
    location: Location,
    *,
    kind: str = "auto",
    split: Literal["train", "val"] = "train",
    synthetic: SyntheticConfig | None = None,
    labels: bool = False,
) -> Source:
    """Opens a source of images.

    Args:
        location: A folder, tars (path, folder, glob, braces, ``@file``, list of these) or ``synthetic``.
        kind: ``folder``, ``tar`` or ``synthetic``; ``auto`` recognises it.
        split: Which drawn images; files know no splits.
        synthetic: What to draw; None takes the defaults.
        labels: Whether every sample must have a label.

    Raises:
        DataError: Nothing is there, it holds no readable image, or it has no labels although asked for.
    """
    if kind not in ("auto", *KINDS):
        raise DataError(f"Unknown kind of data {kind!r}. Expected one of: auto, {', '.join(KINDS)}.")
    if not location:
        raise DataError("No data given. Expected a folder, tars, or synthetic.")
    if kind == "auto":
        kind = _recognise(location)
    if (kind == "synthetic") != (_text(location) == "synthetic"):
        raise DataError(f"{_text(location)} is not of kind {kind}. Drawn images are called synthetic and have no path.")
    if kind == "synthetic":
        return SyntheticSource(synthetic or SyntheticConfig(), split)
    source: Source
    if kind == "folder":
        source = FolderSource(_one_folder(location), labels=labels)
    else:
        source = TarSource(shard_paths(location), _text(location), labels=labels)
    _require_readable(source)
    return source


def describe(source: Source) -> str:
    """One line on what was found, such as ``tar shards, 19 files, 9,469 images, 10 classes``."""
    parts = [KINDS[source.kind]]
    if source.kind == "tar":
        parts.append(_count(len(source.group_sizes), "file"))
    parts.append(_count(len(source), "image"))
    if source.class_names is not None:
        parts.append(_count(len(source.class_names), "class", "classes"))
    return ", ".join(parts)


def _recognise(location: Location) -> str:
    """The kind of a location: a folder with any image in it is a folder, one with only tars is tar shards."""
    text = _text(location)
    if text == "synthetic":
        return "synthetic"
    if "://" in text or text.startswith("pipe:"):
        raise DataError(f"{text} is an address. Expected a path: copy the data to a disk first.")
    root = Path(os.path.expanduser(text))
    if root.is_dir():
        return _holds(root)
    if root.is_file() and root.suffix != ".tar":
        raise DataError(f"{root} is neither a folder nor a .tar. Expected a folder, tars, or synthetic.")
    return "tar"


def _holds(root: Path) -> str:
    tars = False
    for file in files_below(root):
        if file.lower().endswith(EXTENSIONS):
            return "folder"
        tars = tars or file.endswith(".tar")
    return "tar" if tars else "folder"


def _one_folder(location: Location) -> Path:
    if not isinstance(location, str) and len(location) > 1:
        raise DataError(f"Expected one folder, got {len(location)}: {_text(location)}.")
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
