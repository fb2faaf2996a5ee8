"""From what the user wrote to a list of tar files, on this machine or elsewhere."""

from __future__ import annotations

import glob
import itertools
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from franca.data.folder import files_below
from franca.data.openers import is_remote, remote_glob
from franca.errors import DataError

Shard: TypeAlias = Path | str
"""A tar on this machine, or the address of one elsewhere."""

_logger = logging.getLogger(__name__)
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACE = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def shard_list(location: str | Sequence[str]) -> list[Shard]:
    """Lists the tar files that a location names, in the order written; a glob or a folder in sorted order.

    Args:
        location: A tar, a folder of tars, a glob, a pattern with ``{00000..00019}`` or ``{a,b}``, an address
            (``https://…``, ``s3://…``, ``pipe:COMMAND``), ``@file`` with one of these a line (paths in it start from
            its own folder), or a list of these.

    Raises:
        DataError: A path does not exist, or nothing matches. Of several in a list, one that is missing is kept, so that
            it can be counted.
    """
    if not isinstance(location, str):
        return _several(list(location))
    if is_remote(location):
        return [address for item in expand_braces(location) for address in remote_glob(item)]
    path = Path(os.path.expanduser(location.removeprefix("file://")))
    if path.is_dir():
        return [*_in_folder(path)]
    if path.exists():  # before all else, so that a file may have brackets in its name
        return [path]
    if location.startswith("@"):
        return _in_list(Path(os.path.expanduser(location[1:])))
    if _BRACE.search(location):
        return [*_in_braces(str(path))]
    if glob.has_magic(location):
        return [*_in_glob(str(path))]
    raise DataError(
        f"{path} does not exist. Expected a folder, a tar, a glob, a {{a..b}} pattern, an address or @file."
    )


def shard_paths(location: str | Sequence[str]) -> list[Path]:
    """The same for what must lie on this machine.

    Raises:
        DataError: As `shard_list`; or one of them is an address.
    """
    shards = shard_list(location)
    addresses = [shard for shard in shards if isinstance(shard, str)]
    if addresses:
        raise DataError(f"{addresses[0]} is an address. Expected a path: copy the data to a disk first.")
    return [shard for shard in shards if isinstance(shard, Path)]


def expand_braces(pattern: str) -> list[str]:
    """Expands ``{0..9}``, ``{000..019}`` and ``{a,b}``; several multiply, the last one runs fastest."""
    literals = _BRACE.split(pattern)[::2]
    choices = [_choices(body, pattern) for body in _BRACE.findall(pattern)]
    return [
        "".join(itertools.chain(*zip(literals, picked, strict=False), literals[-1:]))
        for picked in itertools.product(*choices)
    ]


def _choices(body: str, pattern: str) -> list[str]:
    if not (match := _RANGE.fullmatch(body)):
        return body.split(",")
    first, last = match.groups()
    if int(first) > int(last):
        raise DataError(f"The range {{{body}}} in {pattern} runs backwards. Write the smaller number first.")
    width = len(first) if first.startswith("0") else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]


def _several(items: list[str]) -> list[Shard]:
    """The shards of a list; a plain path that does not exist stays in it as long as another one exists."""
    found: list[Shard] = []
    missing: list[DataError] = []
    for item in items:
        try:
            found += shard_list(item)
        except DataError as error:
            if item.startswith("@") or _BRACE.search(item) or glob.has_magic(item):
                raise
            missing.append(error)
            found.append(Path(os.path.expanduser(item)))
    if missing and len(missing) == len(items):
        raise missing[0]
    return found


def _in_folder(folder: Path) -> list[Path]:
    files = list(files_below(folder))
    packed = [file for file in files if file.lower().endswith(_COMPRESSED)]
    if packed:
        raise DataError(
            f"{folder} holds {len(packed):,} compressed tars ({packed[0]}), in which no sample can be found without "
            "reading all before it. Unpack them to plain .tar files, or name the others: a glob, braces, a list."
        )
    tars = [folder / file for file in files if file.endswith(".tar")]
    if not tars:
        raise DataError(f"No tar in {folder}: looked for .tar in it and in all folders below.")
    return tars


def _in_list(file: Path) -> list[Shard]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the list {file}: {error}. Expected a text file, one tar a line.") from error
    items = [line for line in lines if line and not line.startswith("#")]
    if not items:
        raise DataError(f"The list {file} names no tar. Expected one a line.")
    return _several([item if is_remote(item) else str(file.parent / Path(os.path.expanduser(item))) for item in items])


def _in_glob(pattern: str) -> list[Path]:
    found = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
    if not found:
        raise DataError(f"No file matches {pattern}.")
    return found


def _in_braces(pattern: str) -> list[Path]:
    """What exists of the expansion: a download of many shards nearly always has gaps."""
    paths = [Path(item) for item in expand_braces(pattern)]
    if any(glob.has_magic(str(path)) for path in paths):
        return [found for path in paths for found in shard_paths(str(path))]
    found = [path for path in paths if path.exists()]
    if not found:
        raise DataError(f"None of the {len(paths):,} files of {pattern} exists (first: {paths[0]}).")
    if len(found) < len(paths):
        missing = next(path for path in paths if not path.exists())
        gaps = len(paths) - len(found)
        _logger.warning("%s of %s files of %s do not exist (first: %s)", gaps, len(paths), pattern, missing)
    return found
