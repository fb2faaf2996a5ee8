from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from franca.errors import CheckpointError
from franca.models import downloads
from franca.models.downloads import cache_folder, cache_name, download, fetch, is_url
from tests.models.released import in_pieces
from tests.models.server import Site, serve

CONTENT = b"\x80\x02" + bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub, and no waiting."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(downloads, "WAITS_S", (0.0, 0.0))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        site.files["/a.pth"] = CONTENT
        yield site


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_is_downloaded_once(site: Site, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        path = fetch([f"{site.address}/a.pth"], "a.pth", sha256=DIGEST)
        assert path == cache / "a.pth" == cache_folder() / "a.pth"
        assert path.read_bytes() == CONTENT
    assert site.requests == ["/a.pth"]
    assert capsys.readouterr().err == f"downloading {site.address}/a.pth to {path}\n"
    assert names(cache) == ["a.pth", "a.pth.sha256"]


def test_a_cached_file_needs_no_network(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "a.pth").write_bytes(b"a")
    assert fetch(["http://127.0.0.1:9/a.pth"], "a.pth", verbose=False).read_bytes() == b"a"


@pytest.mark.parametrize("failures", [["short"], [500], [503, "short"]])
def test_what_may_pass_is_tried_again(site: Site, cache: Path, failures: list[int | str]) -> None:
    site.failures = list(failures)
    assert fetch([f"{site.address}/a.pth"], "a.pth", verbose=False).read_bytes() == CONTENT
    assert len(site.requests) == len(failures) + 1
    assert names(cache) == ["a.pth"]


@pytest.mark.parametrize(
    ("failures", "num_requests", "message"),
    [
        (["short"] * 3, 3, f"the connection broke after {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ([500] * 3, 3, "the server answered 500 Internal Server Error"),
        ([404], 1, "the server answered 404 Not Found"),
        ([403], 1, "the server answered 403 Forbidden"),
    ],
)
def test_nothing_is_kept_of_a_failure_and_the_next_call_starts_anew(
    site: Site, cache: Path, failures: list[int | str], num_requests: int, message: str
) -> None:
    site.failures = list(failures)
    url = f"{site.address}/a.pth"
    with pytest.raises(CheckpointError, match=f"Cannot download {url}: {message}.*put it at {cache / 'a.pth'}"):
        fetch([url], "a.pth", verbose=False)
    assert len(site.requests) == num_requests
    assert names(cache) == []
    assert fetch([url], "a.pth", verbose=False).read_bytes() == CONTENT


def test_a_wrong_digest_is_refused(site: Site, cache: Path) -> None:
    with pytest.raises(CheckpointError, match=f"its SHA-256 is {DIGEST} instead of 00"):
        fetch([f"{site.address}/a.pth"], "a.pth", sha256="00", verbose=False)
    assert (names(cache), len(site.requests)) == ([], 1)


def test_an_interruption_leaves_nothing(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads._Progress, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch([f"{site.address}/a.pth"], "a.pth", verbose=False)
    assert names(cache) == []


def test_no_network(cache: Path) -> None:
    url = "http://127.0.0.1:9/a.pth"  # nobody listens there
    with pytest.raises(CheckpointError, match=f"Cannot download {url}: .*refused.*put it at {cache / 'a.pth'}"):
        fetch([url], "a.pth", verbose=False)


def test_a_cache_that_cannot_be_made(site: Site, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(b"")  # a file where the folder should be
    with pytest.raises(CheckpointError, match=f"Cannot keep downloads in {cache}: File exists. TORCH_HOME"):
        fetch([f"{site.address}/a.pth"], "a.pth", verbose=False)
    assert site.requests == []


@pytest.mark.parametrize("url", ["http://[/a.pth", "http://127.0.0.1:port/a.pth", "http://"])
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Cannot download"):
        download(url, tmp_path / cache_name(url), verbose=False)


def test_several_at_once(site: Site, cache: Path) -> None:
    def one() -> None:
        fetch([f"{site.address}/a.pth"], "a.pth", sha256=DIGEST, verbose=False)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cache / "a.pth").read_bytes() == CONTENT
    assert names(cache) == ["a.pth", "a.pth.sha256"]


def test_addresses_that_end_alike_have_names_of_their_own() -> None:
    urls = [
        "http://a/x/model.pth",
        "http://b/x/model.pth",
        "http://a/x/model.pth?version=2",
        "http://a/x/%2e%2e",
        "http://a",
    ]
    cached = [cache_name(url) for url in urls]
    assert len(set(cached)) == len(urls)
    assert all(name == Path(name).name and name.startswith("model-") and name.endswith(".pth") for name in cached[:3])
    assert all(Path(name).name == name and not name.startswith(".") for name in cached)
    assert cache_name(urls[0]) == cached[0]


def test_what_is_an_address() -> None:
    assert all(is_url(text) for text in ("http://a/b", "https://a", "file:///a"))
    assert not any(is_url(text) for text in ("a/b.pth", "IN21K", "C:/a.pth", "ftp://a/b", "http://"))


@pytest.fixture
def pieces(site: Site, tmp_path: Path) -> list[str]:
    """Addresses of a file in three pieces."""
    (tmp_path / "whole").write_bytes(CONTENT)
    found = in_pieces(tmp_path / "whole", tmp_path)
    site.files |= {f"/{piece.name}": piece.read_bytes() for piece in found}
    return [f"{site.address}/{piece.name}" for piece in found]


def test_pieces_become_one_file(pieces: list[str], cache: Path, site: Site) -> None:
    site.failures = ["ok", 500]
    for _ in range(2):
        assert fetch(pieces, "a.pth", verbose=False).read_bytes() == CONTENT
    assert names(cache) == ["a.pth"]
    assert len(site.requests) == 4


def test_whole_pieces_are_kept_when_a_later_one_fails(pieces: list[str], cache: Path, site: Site) -> None:
    site.failures = ["ok", 404]
    with pytest.raises(CheckpointError, match="part_ab: the server answered 404"):
        fetch(pieces, "a.pth", verbose=False)
    assert [name[-7:] for name in names(cache)] == ["part_aa"]
    assert fetch(pieces, "a.pth", verbose=False).read_bytes() == CONTENT
    assert [path[-7:] for path in site.requests] == ["part_aa", "part_ab", "part_ab", "part_ac"]


def test_damaged_pieces_are_not_met_again(pieces: list[str], cache: Path, site: Site) -> None:
    good = dict(site.files)
    last = next(path for path in good if path.endswith("part_ac"))
    site.files[last] = bytes(len(good[last]))
    with pytest.raises(CheckpointError, match="damaged"):
        fetch(pieces, "a.pth", verbose=False)
    assert names(cache) == []
    site.files = good
    assert fetch(pieces, "a.pth", verbose=False).read_bytes() == CONTENT


def test_pieces_that_another_process_used_up(pieces: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(paths: list[Path], _: Path) -> None:
        (cache / "a.pth").write_bytes(CONTENT)
        raise FileNotFoundError(paths[0])

    monkeypatch.setattr(downloads, "unpack_pieces", unpack)
    assert fetch(pieces, "a.pth", verbose=False).read_bytes() == CONTENT


def test_progress_on_a_terminal(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fetch([f"{site.address}/a.pth"], "a.pth")
    assert "\ra.pth: 1 of 5 MB" in capsys.readouterr().err
    fetch([f"{site.address}/a.pth"], "b.pth", verbose=False)
    assert capsys.readouterr().err == ""


def test_a_file_that_was_put_into_the_cache_is_checked_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(parents=True)
    (cache / "a.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=f"{cache / 'a.pth'} is not the file .* instead of {DIGEST}. Delete it"):
        fetch(["http://127.0.0.1:9/a.pth"], "a.pth", sha256=DIGEST)
    (cache / "a.pth").write_bytes(CONTENT)
    fetch(["http://127.0.0.1:9/a.pth"], "a.pth", sha256=DIGEST)
    with monkeypatch.context() as patch:
        patch.setattr(downloads.hashlib, "sha256", None)
        fetch(["http://127.0.0.1:9/a.pth"], "a.pth", sha256=DIGEST)
    (cache / "a.pth").write_bytes(CONTENT[:-2])
    with pytest.raises(CheckpointError, match="is not the file"):
        fetch(["http://127.0.0.1:9/a.pth"], "a.pth", sha256=DIGEST)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>404</html>", "what came is no checkpoint: it starts with b'<!DOC"),
        (b"", "what came is no checkpoint"),
        (b"PK\x03\x04" + bytes(100), "the end of the file is missing"),
        (b"\x40" + bytes(7) + b'{"a":', "no whole safetensors file"),
    ],
)
def test_what_is_no_whole_checkpoint_is_not_kept(content: bytes, message: str, site: Site, cache: Path) -> None:
    site.files["/a.pth"] = content
    with pytest.raises(CheckpointError, match=message):
        fetch([f"{site.address}/a.pth"], "a.pth", verbose=False)
    assert names(cache) == []
    site.files["/a.pth"] = CONTENT
    assert fetch([f"{site.address}/a.pth"], "a.pth", verbose=False).read_bytes() == CONTENT


def test_schemes_in_any_case(site: Site, cache: Path) -> None:
    assert is_url("HTTPS://a/b") and is_url("File:///a")
    assert fetch([f"{site.address.replace('http', 'HTTP')}/a.pth"], "a.pth", verbose=False).read_bytes() == CONTENT
