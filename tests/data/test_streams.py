"""Bytes that come in whole, too few, or too slowly."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from franca.data.streams import FetchError, Stream
from franca.data.versions import Version


def reads(*pieces: bytes, wait_seconds: float = 0.0) -> Callable[[int], bytes]:
    left = iter(pieces)

    def read(num_bytes: int) -> bytes:
        time.sleep(wait_seconds)
        return next(left, b"")

    return read


def test_all_bytes_come_in_their_order() -> None:
    assert b"".join(Stream(reads(b"ab", b"c")).chunks(5)) == b"abc"
    stream = Stream(reads(b"ab", b"c"), Version(num_bytes=3))
    assert stream.num_bytes == 3 and b"".join(stream.chunks(5)) == b"abc"


def test_fewer_bytes_than_announced_are_a_lost_connection() -> None:
    with pytest.raises(FetchError, match="after 3 of 4 bytes") as caught:
        list(Stream(reads(b"ab", b"c"), Version(num_bytes=4)).chunks(5))
    assert caught.value.reason == "connection_lost" and not caught.value.permanent


def test_a_trickle_counts_as_nothing() -> None:
    with pytest.raises(FetchError, match="only 2 bytes came") as caught:
        list(Stream(reads(b"a", b"b", b"c", wait_seconds=0.02)).chunks(0.03))
    assert caught.value.reason == "timeout"
