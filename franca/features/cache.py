"""Features that were computed before, by content, in a folder of bounded size."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from franca.data.cache_folder import cache_folder

GIB = 2**30
_ENTRY = re.compile(r"[0-9a-f]{32}")  # nothing else in the folder is touched
_BUSY_SECONDS = 3600.0


@dataclass(frozen=True)
class FeatureCache:
    """A folder with one folder for each key."""

    root: Path
    max_bytes: int

    @classmethod
    def default(cls, max_gib: float) -> FeatureCache:
        """The cache of this user."""
        return cls(cache_folder() / "features", int(max_gib * GIB))

    def folder(self, key: str) -> Path:
        """The folder of a key, marked as just used."""
        folder = self.root / key
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        return folder

    def trim(self, keep: str) -> None:
        """Remove what was not used for longest until the rest fits; ``keep`` and what others are at work on stay."""
        entries = [entry for entry in os.scandir(self.root) if _ENTRY.fullmatch(entry.name) and entry.is_dir()]
        sizes = {entry.name: _size(entry.path) for entry in entries}
        excess = sum(sizes.values()) - self.max_bytes
        for entry in sorted(entries, key=_used):
            if excess <= 0:
                return
            if entry.name == keep or _is_busy(entry.path):
                continue
            shutil.rmtree(entry.path, ignore_errors=True)
            excess -= sizes[entry.name]


def _used(entry: os.DirEntry[str]) -> float:
    with suppress(FileNotFoundError):
        return os.stat(entry.path).st_mtime
    return 0.0


def _is_busy(folder: str) -> bool:
    """Whether parts were written a short while ago: some process is at work here."""
    newest = 0.0
    for name in _names(folder):
        with suppress(FileNotFoundError):
            newest = max(newest, os.stat(os.path.join(folder, name)).st_mtime * name.startswith("part_"))
    return time.time() - newest < _BUSY_SECONDS


def _names(folder: str) -> list[str]:
    with suppress(FileNotFoundError):
        return os.listdir(folder)
    return []


def _size(folder: str) -> int:
    total = 0
    for name in _names(folder):
        with suppress(FileNotFoundError):
            total += os.stat(os.path.join(folder, name)).st_size
    return total
