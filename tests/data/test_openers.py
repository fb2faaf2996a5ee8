"""Opening what lies elsewhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from franca.data.openers import ask_version, is_remote, open_stream, remote_glob, require_opener, scheme_of
from franca.data.streams import FetchError
from franca.data.versions import Version
from franca.errors import DataError

from .fetched import failure, fetch
from .servers import serve


@pytest.mark.parametrize(
    ("location", "scheme", "remote"),
    [
        ("https://host/{0..9}.tar", "https", True),
        ("S3://bucket/x.tar", "s3", True),
        ("pipe:cat x.tar", "pipe", True),
        ("file:///data/x.tar", "file", False),
        ("data/x.tar", None, False),
        ("C:/data/x.tar", None, False),
        ("pkg.module:make", None, False),
    ],
)
def test_what_is_an_address(location: str, scheme: str | None, remote: bool) -> None:
    assert (scheme_of(location), is_remote(location)) == (scheme, remote)


def test_http(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "x").write_bytes(data)
    with serve(tmp_path) as server:
        assert fetch(f"{server.address}/x") == data


@pytest.mark.parametrize(
    ("fault", "reason", "permanent"),
    [
        (404, "http_404", True),
        (403, "http_403", True),
        (429, "http_429", False),
        (500, "http_500", False),
        (503, "http_503", False),
        ("drop", "connection_lost", False),
        ("stall", "timeout", False),
        ("trickle", "timeout", False),
    ],
)
def test_a_bad_server(tmp_path: Path, fault: int | str, reason: str, permanent: bool) -> None:
    (tmp_path / "x").write_bytes(bytes(5000))
    with serve(tmp_path) as server:
        server.faults["x"] = fault
        began = time.perf_counter()
        found = failure(f"{server.address}/x", 0.3)
        assert (found.reason, found.permanent) == (reason, permanent)
        assert time.perf_counter() - began < 3


def test_nobody_listens() -> None:
    assert failure("http://127.0.0.1:9/x").reason == "connection_lost"


def test_an_object_store(tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe({"/shop/b.tar": b"two", "/shop/a.tar": b"one", "/shop/notes": b""})
    assert remote_glob("memory://shop/*.tar") == ["memory:///shop/a.tar", "memory:///shop/b.tar"]
    assert fetch("memory://shop/b.tar") == b"two"
    missing = failure("memory://shop/c.tar")
    assert (missing.reason, missing.permanent) == ("missing", True)
    with pytest.raises(DataError, match=r"No file matches memory://shop/\*\.png"):
        remote_glob("memory://shop/*.png")


def test_what_cannot_be_listed_or_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote_glob("https://host/x.tar?token=1") == ["https://host/x.tar?token=1"]
    with pytest.raises(DataError, match=r"cannot be listed.*00000\.\.00019"):
        remote_glob("https://host/*.tar")
    with pytest.raises(
        DataError, match=r"nothing opens gopher:// addresses\. Expected http://, https://, pipe:COMMAND"
    ):
        require_opener("gopher://host/x.tar")
    for address in ("http://host/x", "pipe:cat x", "memory://x", "ais://bucket/x"):
        require_opener(address)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match=r"nothing opens s3:// .*pip install 'franca-vision\[remote\]'"):
        require_opener("s3://bucket/x.tar")


def test_what_a_server_says_about_a_file_without_sending_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(5000))
    with serve(tmp_path) as server:
        server.headers["x"] = {"ETag": '"1"', "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}
        found = ask_version(f"{server.address}/x", 5)
        assert found == Version('"1"', "Mon, 02 Nov 2026 10:00:00 GMT", 5000) and not server.requests
        with open_stream(f"{server.address}/x", 5) as stream:
            assert stream.version == found and stream.num_bytes == 5000
        with pytest.raises(FetchError) as caught:
            ask_version(f"{server.address}/none", 5)
        assert caught.value.reason == "http_404"
    assert ask_version("pipe:exit 3", 5) == Version()
