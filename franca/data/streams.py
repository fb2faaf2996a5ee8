"""Bytes that come in from elsewhere, and what is said when they do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from franca.data.versions import Version

_CHUNK_BYTES = 1 << 20
_LEAST_BYTES_PER_SECOND = 1024


class FetchError(Exception):
    """Something elsewhere could not be had.

    Args:
        reason: A short slug by which failures are counted.
        text: What happened.
        permanent: Whether it is pointless to try again.
    """

    def __init__(self, reason: str, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.permanent = permanent


@dataclass(frozen=True)
class Stream:
    """Bytes that come in: ``read`` gives the next ones, at most as many as asked for, and none at the end."""

    read: Callable[[int], bytes]
    version: Version = field(default_factory=Version)

    @property
    def num_bytes(self) -> int | None:
        """Bytes in all, where that is known."""
        return self.version.num_bytes

    def chunks(self, timeout_seconds: float) -> Iterator[bytes]:
        """All bytes in pieces.

        Args:
            timeout_seconds: In each stretch of this length something more than a trickle must come.

        Raises:
            FetchError: They come too slowly, or there are fewer than were announced.
        """
        received, since, before = 0, time.monotonic(), 0
        while chunk := self.read(_CHUNK_BYTES):
            received += len(chunk)
            yield chunk
            if (seconds := time.monotonic() - since) > timeout_seconds:
                if received - before < _LEAST_BYTES_PER_SECOND * seconds:
                    raise FetchError("timeout", f"only {received - before:,} bytes came in {seconds:.0f} seconds")
                since, before = time.monotonic(), received
        if self.num_bytes is not None and received < self.num_bytes:
            raise FetchError("connection_lost", f"the connection ended after {received:,} of {self.num_bytes:,} bytes")
