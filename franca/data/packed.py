"""Many strings in two arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np


class PackedStrings:
    """A read-only list of strings in one buffer.

    Python counts references inside every string, so a forked worker that only reads a plain list ends up
    copying all of its memory, page by page. Two arrays stay shared, and take a third of the room.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [os.fsencode(string) for string in strings]  # keeps file names that are not UTF-8
        self._ends = np.cumsum([len(item) for item in encoded], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(self._bytes[start : self._ends[index]].tobytes())
