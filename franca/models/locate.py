"""From what a user types to a file on this machine."""

from __future__ import annotations

import os
import urllib.parse
import urllib.request
from pathlib import Path

from franca.errors import CheckpointError
from franca.models.downloads import cache_name, fetch, is_url
from franca.models.pieces import find_pieces

NEWEST_EXPORT = Path("exports") / "teacher.safetensors"


def locate(location: str, *, verbose: bool = True) -> Path | None:
    """The file that a path or a URL means, downloaded where it must be.

    Args:
        location: a file; a URL (http, https, file); a run folder, of which it is the newest teacher; or a folder with
            the pieces of a file, of which it is the first.
        verbose: tell of downloads.

    Returns:
        The path; None if there is nothing at the location.

    Raises:
        CheckpointError: if a URL cannot be downloaded, or a folder holds no weights.
    """
    if is_url(location):
        if not location.lower().startswith("file:"):
            return fetch([location], cache_name(location), verbose=verbose)
        path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(location).path))
    else:
        path = Path(os.path.expanduser(location))
    if path.is_dir():
        return _in_folder(path)
    return path if path.exists() else None


def _in_folder(folder: Path) -> Path:
    if (folder / NEWEST_EXPORT).exists():
        return folder / NEWEST_EXPORT
    pieces = find_pieces(folder)
    if not pieces:
        raise CheckpointError(
            f"{folder} has no {NEWEST_EXPORT}. Give the folder of a run that has exported its teacher, or a file of "
            "weights."
        )
    return pieces[0]
