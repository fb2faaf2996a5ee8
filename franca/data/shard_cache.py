"""Copies of shards that lie elsewhere: fetched whole, kept in a folder of bounded size, shared by all processes.

The folder holds for each address ``HASH.tar``, its index, an empty ``HASH.lock``, ``HASH.version`` with what the
server said about it, ``HASH.failed`` where it could not be had a short while ago, and ``HASH.replaced`` where it became
another file. Files whose name ends in ``.part`` are on their way. What was not used for longest goes first.

A copy is compared with what the server says when a run first uses it, and fetched again when it was replaced there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from franca.data.bounded_folder import NO_ROOM, PARTIAL, BoundedFolder, locked
from franca.data.cache_folder import cache_folder, write_atomically
from franca.data.open_files import is_too_many
from franca.data.openers import ask_version, open_stream
from franca.data.streams import FetchError, Stream
from franca.data.versions import Version

_logger = logging.getLogger(__name__)

GIB = 2**30
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_TRY_AGAIN_SECONDS = 300.0  # after so long, a shard that could not be had is asked for again
_TOUCH_SECONDS = 5.0
_NOTE = ".failed"  # ending of the note that a shard could not be had
_VERSION, _REPLACED = ".version", ".replaced"
_ASK_SECONDS = 10.0  # whether a copy is still good is not worth a longer wait
CACHE_FULL = "cache_full"
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RemoteSettings:
    """How shards that lie elsewhere are fetched and kept."""

    folder: Path = field(default_factory=lambda: cache_folder() / "shards")
    max_bytes: int = 100 * GIB
    timeout_seconds: float = 30.0
    retries: int = 4


class ShardCache:
    """Local copies of remote files.

    Args:
        settings: Where, how many bytes, and how patient.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        self.settings = settings
        self._room = BoundedFolder(settings.folder, settings.max_bytes)
        self._failed: dict[str, tuple[float, FetchError]] = {}
        self._touched: dict[str, float] = {}  # what this process has used
        self._began = time.time()  # of the run: its processes need not ask about a copy one after the other
        self._silent_until = 0.0  # a server that does not answer is left alone

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_failed": {}, "_touched": {}, "_silent_until": 0.0}

    def path_of(self, address: str) -> Path:
        """Where the copy of an address lies, or will lie."""
        return self.settings.folder / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.tar"

    def local(self, address: str) -> Path:
        """The copy of an address, fetched where there is none, or where the file there was replaced since.

        Raises:
            FetchError: It cannot be had, now or when some process asked for it a short while ago.
            OSError: This process has too many files open.
        """
        path = self.path_of(address)
        if address not in self._touched or not path.exists():
            if not path.exists():
                self._raise_again(address)
            try:
                self.settings.folder.mkdir(parents=True, exist_ok=True)
                with locked(path.with_suffix(".lock")):  # another process may do meanwhile what is to be done
                    self._obtain(address, path)
            except OSError as error:
                if is_too_many(error):
                    raise
                if not path.exists():  # else the folder is read-only, and what lies in it is used as it is
                    raise self._remembered(address, FetchError("cache_unusable", str(error))) from error
        self._touch(address, path)
        return path

    def _obtain(self, address: str, path: Path) -> None:
        """Fetch what is not there, or is out of date; a copy that cannot be replaced is better than none."""
        if not path.exists():
            self._raise_again(address)
            self._fetch(address, path)
        elif self._is_replaced(address, path):
            _logger.warning("%s was replaced since it was fetched, and is fetched again", address)
            try:
                self._fetch(address, path)
            except FetchError:
                if not path.exists():  # it made room for its successor
                    raise

    def _is_replaced(self, address: str, path: Path) -> bool:
        """Ask the server, unless a process of this run did so before."""
        note = path.with_suffix(_VERSION)
        asked = note.stat().st_mtime if note.exists() else 0.0
        if asked >= self._began or time.monotonic() < self._silent_until:
            return False
        try:
            now = ask_version(address, min(_ASK_SECONDS, self.settings.timeout_seconds))
        except FetchError as error:
            if not error.permanent or error.reason == "http_405":  # 404 speaks of this file alone
                self._silent_until = time.monotonic() + _TRY_AGAIN_SECONDS
            return False
        before = _version_of_copy(path)
        if now.is_other_than(before):
            return True
        _write_version(note, before if note.exists() else now)  # its time of change says when it was compared
        return False

    def was_replaced(self, address: str, since: float) -> bool:
        """Whether another file was found at an address after a time, in seconds since the epoch."""
        try:
            return self.path_of(address).with_suffix(_REPLACED).stat().st_mtime > since
        except OSError:
            return False

    def _fetch(self, address: str, path: Path) -> None:
        try:
            self._patiently(lambda: self._fetch_once(address, path))
        except FetchError as failure:
            raise self._remembered(address, failure) from failure.__cause__

    def forget_failures(self) -> None:
        """Ask again for everything that could not be had: for the start of a run."""
        self._failed.clear()
        for note in self.settings.folder.glob("[0-9a-f]" * 32 + _NOTE):
            with suppress(OSError):
                note.unlink()

    def _raise_again(self, address: str) -> None:
        """Fail as this or another process did a short while ago, without making everybody wait for it anew."""
        if address not in self._failed:
            with suppress(OSError, ValueError, TypeError):
                noted = json.loads(self.path_of(address).with_suffix(_NOTE).read_bytes())
                self._failed[address] = (noted["time"], FetchError(noted["reason"], noted["text"]))
        tried, failure = self._failed.get(address, (0.0, None))
        if failure and time.time() - tried < _TRY_AGAIN_SECONDS:
            raise failure
        self._failed.pop(address, None)

    def _remembered(self, address: str, failure: FetchError) -> FetchError:
        """The failure, which is said once and noted for this and other processes."""
        _logger.warning("%s: %s", address, failure)
        self._failed[address] = (time.time(), failure)
        note = json.dumps({"time": time.time(), "reason": failure.reason, "text": str(failure)})
        with suppress(OSError):
            write_atomically(self.path_of(address).with_suffix(_NOTE), [note.encode()])
        return failure

    def _touch(self, address: str, path: Path) -> None:
        """Note that a copy is in use: by its access time, since its time of change tells whether its index holds."""
        now = time.monotonic()
        if now - self._touched.get(address, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return
        self._touched[address] = now
        with suppress(OSError), path.open("rb") as file:  # or another process might replace it in between
            os.utime(file.fileno(), ns=(time.time_ns(), os.fstat(file.fileno()).st_mtime_ns))

    def read(self, address: str) -> bytes:
        """The bytes of a small file, which is not kept.

        Raises:
            FetchError: It cannot be had.
        """
        return self._patiently(lambda: self._read_once(address))

    def _read_once(self, address: str) -> bytes:
        with open_stream(address, self.settings.timeout_seconds) as stream:
            return b"".join(stream.chunks(self.settings.timeout_seconds))

    def _patiently(self, fetch: Callable[[], Result]) -> Result:
        """Fetch something; after a failure that may pass, wait a while and do it again."""
        attempt = 0
        while True:
            try:
                return fetch()
            except FetchError as error:
                if error.permanent or attempt >= self.settings.retries:
                    raise
            pause = min(_FIRST_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS)
            time.sleep(pause * (0.5 + random.random() / 2))  # processes that failed together come back apart
            attempt += 1

    def _fetch_once(self, address: str, path: Path) -> None:
        """Write under a name of its own; rename when the stream is closed, since a command may fail at its end."""
        partial = path.with_suffix(f".{os.getpid()}{PARTIAL}")
        try:
            with open_stream(address, self.settings.timeout_seconds) as stream:
                self._write_all(stream, partial)
            before, now = _version_of_copy(path), replace(stream.version, num_bytes=partial.stat().st_size)
            os.replace(partial, path)
            _write_version(path.with_suffix(_VERSION), now)
            if now.is_other_than(before):
                write_atomically(path.with_suffix(_REPLACED), [])
            self._room.make_room(0)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise FetchError(CACHE_FULL, str(error)) from error  # other processes may leave some in a while
        finally:
            with suppress(OSError):
                partial.unlink()

    def _write_all(self, stream: Stream, partial: Path) -> None:
        """Write a stream to disk; make room before and while it grows."""
        if (stream.num_bytes or 0) > self.settings.max_bytes:
            text = f"a shard of {stream.num_bytes:,} bytes does not fit into a cache of {self.settings.max_bytes:,}"
            raise FetchError(CACHE_FULL, text, permanent=True)
        step = max(1, self.settings.max_bytes // 64)  # room is made in steps where the size is not known
        left = 0
        with partial.open("wb", buffering=0) as file:
            self._room.make_room(stream.num_bytes or 0)
            for chunk in stream.chunks(self.settings.timeout_seconds):
                self._room.write(file, chunk)
                left += len(chunk)
                if stream.num_bytes is None and left > step:
                    self._room.make_room(0)
                    left = 0


def _version_of_copy(path: Path) -> Version:
    """What was said about a copy that is, or was, here; its size where nothing was kept."""
    with suppress(OSError, ValueError, TypeError):
        return Version(**json.loads(path.with_suffix(_VERSION).read_bytes()))
    return Version(num_bytes=path.stat().st_size if path.exists() else None)


def _write_version(note: Path, version: Version) -> None:
    with suppress(OSError):
        write_atomically(note, [json.dumps(asdict(version)).encode()])
