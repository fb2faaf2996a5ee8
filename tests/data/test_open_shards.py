"""Shards that are open, and copies that may vanish."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from franca.data import open_shards, shard_cache
from franca.data.open_shards import OpenShards, ShardError
from franca.data.shard_cache import RemoteSettings, ShardCache
from franca.data.tar_index import IMAGE, ShardIndex, index_shard
from franca.errors import DataError

from .servers import Server, serve
from .tars import write_tar


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(shard_cache, "_FIRST_PAUSE_SECONDS", 0.0)
    for number in range(4):
        write_tar(tmp_path / f"served/{number}.tar", [("a.png", b"%d" % number * 3000)])
    with serve(tmp_path / "served") as running:
        yield running


def shards_of(server: Server, folder: Path, max_bytes: int) -> OpenShards:
    settings = RemoteSettings(folder=folder / "cache", max_bytes=max_bytes, timeout_seconds=1, retries=1)
    return OpenShards([f"{server.address}/{number}.tar" for number in range(4)], ShardCache(settings))


def first_image(shards: OpenShards, shard: int) -> bytes:
    span = shards.opened(shard).index.span("image", 0)
    assert span is not None
    return shards.read(shard, span)


def test_copies_that_were_dropped_are_fetched_again(server: Server, tmp_path: Path) -> None:
    shards = shards_of(server, tmp_path, max_bytes=25_000)  # room for two
    for shard in (0, 1, 2, 3, 0, 1):
        assert first_image(shards, shard) == b"%d" % shard * 3000
    assert server.requests["0.tar"] == 2
    assert all(shards.opened(shard).file is None for shard in range(4))  # an open file would keep its room


def test_a_server_that_fails_gives_the_reason(server: Server, tmp_path: Path) -> None:
    server.faults = {"0.tar": 404, "1.tar": 500, "2.tar": "drop"}
    shards = shards_of(server, tmp_path, max_bytes=25_000)
    for shard, reason in enumerate(("http_404", "http_500", "connection_lost")):
        with pytest.raises(ShardError) as caught:
            shards.opened(shard)
        assert caught.value.reason == reason
    assert first_image(shards, 3) == b"3" * 3000


def test_a_page_in_place_of_a_shard_is_a_damaged_one(server: Server, tmp_path: Path) -> None:
    (server.root / "0.tar").write_text("<html>please log in</html>")
    index = shards_of(server, tmp_path, max_bytes=25_000).opened(0).index
    assert (len(index), index.damage) == (0, "cut off in a header")


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_closes_the_oldest_shards(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    shards = OpenShards(sorted(server.root.glob("*.tar")), ShardCache(RemoteSettings(folder=tmp_path / "cache")))

    def limited(path: Path) -> ShardIndex:
        if len(shards._open) >= room:
            raise DataError(f"Cannot read {path}") from OSError(code, "too many")
        return index_shard(path)

    monkeypatch.setattr(open_shards, "index_shard", limited)
    room = 2
    for shard in (0, 1, 2, 3):
        assert first_image(shards, shard) == b"%d" % shard * 3000
    assert list(shards._open) == [2, 3]
    room = 0
    with pytest.raises(DataError, match=r"0\.tar: too many files are open.*ulimit -n"):
        shards.opened(0)


def test_at_most_a_quarter_of_the_files_of_a_process_are_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((400, 100), (1 << 20, 256), (resource.RLIM_INFINITY, 256), (2, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert open_shards._max_open() == most


def test_a_copy_that_was_fetched_again_is_read_by_its_own_index(server: Server, tmp_path: Path) -> None:
    shards = shards_of(server, tmp_path, max_bytes=1 << 20)
    assert first_image(shards, 0) == b"0" * 3000
    copy = shards._cache.path_of(shards.name(0))
    os.utime(copy, ns=(0, 0))  # as if dropped and fetched again
    assert first_image(shards, 0) == b"0" * 3000
    old = shards.opened(0).index.span(IMAGE, 0)
    assert old is not None
    write_tar(copy, [("first.png", b"new" * 50), ("second.png", b"x")])
    with pytest.raises(ShardError, match=r"0\.tar was replaced while it was in use") as caught:
        shards.read(0, old)
    assert caught.value.reason == "replaced"
    assert first_image(shards, 0) == b"new" * 50 and len(shards.opened(0).index) == 2
