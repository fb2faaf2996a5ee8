"""What an address gives, and what is said where it gives nothing."""

from __future__ import annotations

import pytest

from franca.data.openers import open_stream
from franca.data.streams import FetchError


def fetch(address: str, timeout_seconds: float = 5.0) -> bytes:
    with open_stream(address, timeout_seconds) as stream:
        return b"".join(stream.chunks(timeout_seconds))


def failure(address: str, timeout_seconds: float = 5.0) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch(address, timeout_seconds)
    return caught.value
