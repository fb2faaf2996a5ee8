"""Many strings in two arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class PackedStrings:
    """A read-only list of strings in one buffer.

    Python counts references inside every string, so a forked worker that only reads a plain list ends up
    copying all of its memory, page by page. Two arrays stay shared, and take a third of the room.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [os.fsencode(string) for string in strings]  # keeps file names that are not UTF-8
        self._set(
            np.cumsum([len(item) for item in encoded], dtype=np.int64), np.frombuffer(b"".join(encoded), dtype=np.uint8)
        )

    @classmethod
    def from_arrays(cls, ends: NDArray[np.int64], characters: NDArray[np.uint8]) -> PackedStrings:
        """Strings that lie in arrays already, such as those of a file mapped to memory.

        Args:
            ends: [n] where each string ends.
            characters: Their bytes, end to end.
        """
        packed = cls.__new__(cls)
        packed._set(ends, characters)
        return packed

    def _set(self, ends: NDArray[np.int64], characters: NDArray[np.uint8]) -> None:
        self.ends, self.characters = ends, characters

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        start = self.ends[index - 1] if index else 0
        return os.fsdecode(self.characters[start : self.ends[index]].tobytes())
