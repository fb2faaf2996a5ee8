"""What can be said to ``franca data``: its sources, its outputs and its options."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

from franca.cli.options import options_of
from franca.config.recipes import parse_overrides
from franca.config.schema import SyntheticConfig, option
from franca.data.openers import is_remote
from franca.data.sample import Source
from franca.data.shards import shard_list
from franca.data.sources import KINDS, open_source
from franca.errors import ConfigError, DataError

_OPTION = re.compile(r"[a-z_][a-z_0-9.]*=")  # a path that looks so is given as ./a=b
Options = TypeVar("Options")
Location: TypeAlias = str | list[str]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Options of whatever reads files."""

    workers: int | None = option(None, low=0)
    """Processes that read; None takes one for each core, fewer for few files; 0 reads in the main process."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions(WorkerOptions):
    """Options of whatever opens a source."""

    kind: str = option("auto", choices=("auto", *KINDS))
    """What SRC is."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The drawn images."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(SourceOptions):
    """Options of ``check``."""

    sample: int | None = option(None, low=1)
    """Images to look at; None takes all."""
    out: str | None = None
    """JSON file for what was found."""


@dataclass(frozen=True, kw_only=True)
class PackOptions(SourceOptions):
    """Options of ``pack``."""

    max_bytes: int = option(1_000_000_000, low=1)
    """Largest size of a shard."""
    max_images: int = option(10_000, low=1)
    """Most images of a shard."""
    seed: int = option(0, low=0)
    """Of the order."""
    resize_px: int | None = option(None, low=1)
    """Length of the shorter side that larger images are brought to; None keeps all as they are."""
    quality: int = option(95, low=1, high=100)
    """Of the JPEG that a resized image becomes."""
    labels: bool | None = None
    """Whether every image must have a label; None keeps labels where every image has one."""


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Options of ``preview``; all others are the recipe's, and have a dot."""

    recipe: str = "vits14"
    """A recipe by name, or the path of a YAML file."""
    num_images: int = option(8, low=1)
    """Rows of the sheet."""


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths, and options: words that begin with ``name=``."""
    return [word for word in words if not _OPTION.match(word)], [word for word in words if _OPTION.match(word)]


def read(words: Sequence[str], schema: type[Options], action: str) -> Options:
    """The options of an action.

    Raises:
        ConfigError: An option is unknown or wrong; the message lists all problems.
    """
    return options_of(words, schema, f"the options of franca data {action}")


def one_source(paths: Sequence[str], usage: str) -> Location:
    """SRC: one word, or the files that a shell made of a glob.

    Raises:
        ConfigError: There is none.
    """
    if not paths:
        raise ConfigError(f"SRC is missing: franca data {usage}. It is what data.train takes, such as a folder.")
    if len(paths) > 1:
        return list(paths)
    location: Location = parse_overrides([f"src={paths[0]}"], text_keys=["src"])["src"]
    return location


def source_and_output(paths: Sequence[str], usage: str) -> tuple[Location, Path]:
    """SRC, and OUT, which is the last word.

    Raises:
        ConfigError: One of them is missing.
    """
    if len(paths) < 2:
        raise ConfigError(f"expected two paths: franca data {usage}; found: {' '.join(paths) or 'none'}")
    return one_source(paths[:-1], usage), Path(os.path.expanduser(paths[-1]))


def open_for(
    location: Location, options: SourceOptions, *, labels: bool | None = None, extras: Sequence[str] = ()
) -> Source:
    """The source.

    Args:
        location: SRC.
        options: How to open it.
        labels: Whether it must have labels; None takes them where every image has one, unless all shards would have to
            be fetched to find out.
        extras: As `open_source`.

    Raises:
        DataError: As `open_source`.
    """

    def opened(labels: bool) -> Source:
        return open_source(location, kind=options.kind, synthetic=options.synthetic, labels=labels, extras=extras)

    if labels is not None:
        return opened(labels)
    if _is_elsewhere(location):
        return opened(False)
    try:
        return opened(True)
    except DataError:
        return opened(False)


def _is_elsewhere(location: Location) -> bool:
    """Whether some of it must be fetched."""
    items = [location] if isinstance(location, str) else location
    listed = [shard for item in items if item.startswith("@") for shard in shard_list(item)]
    return any(is_remote(str(shard)) for shard in (*items, *listed))
