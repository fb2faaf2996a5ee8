"""Where files lie that can be made again, and how they are written so that nobody ever sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

VARIABLE = "FRANCA_CACHE"


def cache_folder() -> Path:
    """The folder of everything that can be made again.

    It is what ``FRANCA_CACHE`` names, else ``franca`` in ``XDG_CACHE_HOME``, else ``~/.cache/franca``.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "franca"


def write_atomically(path: Path, chunks: Iterable[Any]) -> None:
    """Writes a file under another name and renames it, so that readers see all of it or nothing.

    Args:
        path: Where it is to lie; its folder is made.
        chunks: Its bytes, in buffers of any kind.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def lock(file: IO[bytes]) -> None:
    """Wait until no other process of this machine holds the lock of a file; closing the file lets go of it.

    Where files cannot be locked nothing is waited for: work may then be done twice, but nothing breaks.
    """
    try:
        import fcntl
    except ImportError:
        return
    with suppress(OSError):
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
