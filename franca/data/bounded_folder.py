"""A folder of copies that never takes more room than it may: what was not used for longest goes first."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path

from franca.data.cache_folder import lock

_logger = logging.getLogger(__name__)

COPY, PARTIAL, INDEX = ".tar", ".part", ".index"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OURS = re.compile(r"\.?[0-9a-f]{32}\.(tar|tar\.index|failed|(.+\.)?part)")  # nothing else is counted or removed
_RESERVE_BYTES = 1 << 30
_SOON_SECONDS = 60.0
_ABANDONED_SECONDS = 3600.0  # a file on its way that has not grown for so long belongs to a process that died


class BoundedFolder:
    """Makes room for files in a folder that several processes use.

    Args:
        folder: Holds copies (``HASH.tar``, each with its ``.tar.index``) and files on their way (``.part``); a file
            that is not named after a hash of 32 hexadecimal digits is left alone.
        max_bytes: Most that they take up together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def make_room(self, num_bytes: int) -> None:
        """Drop copies until so many more bytes fit.

        Raises:
            OSError: With ENOSPC, where they do not fit into what files on their way leave.
        """
        with locked(self.folder / "room.lock"):
            while (room := self._room()) < num_bytes or room < 0:
                if not self._drop_oldest():
                    text = f"there is room for {max(0, room):,} bytes in {self.folder}, and {num_bytes:,} are needed"
                    raise OSError(errno.ENOSPC, text)

    def _room(self) -> int:
        """Bytes that may be added, below 0 where there are too many: the disk is never filled to its end."""
        disk = shutil.disk_usage(self.folder)
        reserve = min(_RESERVE_BYTES, disk.total // 20)  # checkpoints may lie on the same disk
        return min(self.max_bytes - sum(entry.stat().st_size for entry in self._entries()), disk.free - reserve)

    def write(self, file: FileIO, data: bytes) -> None:
        """Write all of it; on a full disk drop copies one by one before giving up."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[file.write(rest) :]
            except OSError as error:
                if error.errno not in NO_ROOM or not self._drop_oldest():
                    raise

    def _drop_oldest(self) -> bool:
        """Remove the copy that was not used for longest, or what a dead process left; whether there was one."""
        now = time.time()
        found = []
        for entry in self._entries():
            abandoned = entry.name.endswith(PARTIAL) and now - entry.stat().st_mtime > _ABANDONED_SECONDS
            if entry.name.endswith(COPY) or abandoned:
                found.append((entry.stat().st_atime, entry.path))
        if not found:
            return False
        used, oldest = min(found)
        if now - used < _SOON_SECONDS:
            _warn_of_turnover(self.folder, self.max_bytes)
        for path in (oldest, oldest + INDEX):
            with suppress(FileNotFoundError):
                os.unlink(path)
        return True

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """The cache's own files; those that vanish while they are looked at are passed over."""
        with os.scandir(self.folder) as found:
            for entry in found:
                if not _OURS.fullmatch(entry.name):
                    continue
                with suppress(FileNotFoundError):
                    entry.stat()  # kept by the entry
                    yield entry


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that all processes of this machine respect."""
    with path.open("ab") as file:
        lock(file)
        yield


@lru_cache(maxsize=1)  # once a process
def _warn_of_turnover(folder: Path, max_bytes: int) -> None:
    _logger.warning(
        "The cache of remote shards (%s, %.3g GiB) drops what was just in use, so that shards are fetched again and "
        "again: raise performance.cache_gib, or lower data.num_lanes or data.window",
        folder,
        max_bytes / 2**30,
    )
