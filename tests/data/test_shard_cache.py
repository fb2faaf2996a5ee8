"""Copies of remote shards: bounded, shared, and robust against servers and disks."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from franca.data import bounded_folder, shard_cache
from franca.data.bounded_folder import BoundedFolder
from franca.data.shard_cache import RemoteSettings, ShardCache
from franca.data.streams import FetchError

from .servers import Server, serve

SIZE = 10_000


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(shard_cache, "_FIRST_PAUSE_SECONDS", 0.01)
    root = tmp_path / "served"
    root.mkdir()
    for number in range(8):
        (root / f"{number}.tar").write_bytes(bytes([number]) * SIZE)
    with serve(root) as running:
        yield running


def cache_in(folder: Path, *, shards: float = 100, timeout: float = 0.5, retries: int = 3) -> ShardCache:
    return ShardCache(
        RemoteSettings(folder=folder / "cache", max_bytes=int(shards * SIZE), timeout_seconds=timeout, retries=retries)
    )


def copies(cache: ShardCache) -> set[str]:
    return {
        path.name for path in cache.settings.folder.iterdir() if path.suffix not in (".lock", ".failed", ".version")
    }


def test_a_shard_is_fetched_once(server: Server, tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    first = cache.local(f"{server.address}/3.tar")
    assert first.read_bytes() == b"\3" * SIZE
    assert cache.local(f"{server.address}/3.tar") == first == cache.path_of(f"{server.address}/3.tar")
    assert pickle.loads(pickle.dumps(cache)).local(f"{server.address}/3.tar") == first
    assert server.requests["3.tar"] == 1


def test_what_was_not_used_for_longest_goes_first(server: Server, tmp_path: Path) -> None:
    cache = cache_in(tmp_path, shards=3.5)
    paths = [cache.local(f"{server.address}/{number}.tar") for number in range(3)]
    for age, path in zip((300, 100, 200), paths, strict=True):
        path.with_name(path.name + ".index").write_bytes(b"index")
        os.utime(path, (time.time() - age, time.time()))
    cache._touched.clear()
    cache.local(f"{server.address}/0.tar")  # used again
    fourth = cache.local(f"{server.address}/4.tar")
    assert {name for name in copies(cache) if name.endswith(".tar")} == {paths[0].name, paths[1].name, fourth.name}
    assert not paths[2].with_name(paths[2].name + ".index").exists()


def test_the_bound_holds_at_any_time(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bounded_folder._warn_of_turnover.cache_clear()
    cache = cache_in(tmp_path, shards=2.5)
    for number in (*range(8), *range(8)):
        path = cache.local(f"{server.address}/{number}.tar")
        assert path.read_bytes() == bytes([number]) * SIZE
        assert sum(path.stat().st_size for path in cache.settings.folder.iterdir()) <= cache.settings.max_bytes
    assert caplog.text.count("raise performance.cache_gib") == 1


def test_a_shard_that_never_fits(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="10,000 bytes does not fit into a cache of 5,000") as caught:
        cache_in(tmp_path, shards=0.5).local(f"{server.address}/1.tar")
    assert caught.value.reason == "cache_full"


@pytest.mark.parametrize("faults", [[500, 503], ["drop"], ["stall", "drop"]])
def test_what_passes_is_tried_again(server: Server, tmp_path: Path, faults: list[int | str]) -> None:
    server.faults["1.tar"] = list(faults)
    path = cache_in(tmp_path, timeout=0.2).local(f"{server.address}/1.tar")
    assert path.read_bytes() == b"\1" * SIZE
    assert server.requests["1.tar"] == len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "reason", "requests"), [(404, "http_404", 1), (500, "http_500", 3), ("drop", "connection_lost", 3)]
)
def test_what_does_not_pass_fails_and_is_not_asked_for_at_once_again(
    server: Server, tmp_path: Path, fault: int | str, reason: str, requests: int
) -> None:
    server.faults["1.tar"] = fault
    cache = cache_in(tmp_path, retries=2)
    for _ in range(3):
        with pytest.raises(FetchError) as caught:
            cache.local(f"{server.address}/1.tar")
        assert caught.value.reason == reason
    assert server.requests["1.tar"] == requests
    assert copies(cache) == set()


def test_processes_do_not_wait_for_a_failure_one_after_the_other(server: Server, tmp_path: Path) -> None:
    server.faults["1.tar"] = "stall"
    cache = cache_in(tmp_path, timeout=0.2, retries=1)
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(partial(reason_of, cache), [f"{server.address}/1.tar"] * 4, chunksize=1) == ["timeout"] * 4
    assert server.requests["1.tar"] == 2
    assert time.perf_counter() - began < 2
    cache.forget_failures()
    server.faults.clear()
    assert cache.local(f"{server.address}/1.tar").exists()


def reason_of(cache: ShardCache, address: str) -> str:
    try:
        cache.local(address)
    except FetchError as error:
        return error.reason
    return "fetched"


def test_a_server_that_comes_back_is_asked_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults["1.tar"] = [500]
    cache = cache_in(tmp_path, retries=0)
    with pytest.raises(FetchError):
        cache.local(f"{server.address}/1.tar")
    monkeypatch.setattr(shard_cache, "_TRY_AGAIN_SECONDS", 0.0)
    assert cache.local(f"{server.address}/1.tar").exists()


class TestFullDisk:
    """The disk is full before the cache has reached its bound."""

    @pytest.fixture
    def disk(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """A disk that takes so many bytes."""
        room = [25_000]
        write = BoundedFolder.write

        class Disk:
            def __init__(self, file: object, folder: Path) -> None:
                self.file, self.folder = file, folder

            def write(self, data: memoryview) -> int:
                if sum(path.stat().st_size for path in self.folder.iterdir()) + len(data) > room[0]:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return self.file.write(data)  # type: ignore[attr-defined, no-any-return]

        def limited(self: BoundedFolder, file: object, chunk: bytes) -> None:
            write(self, Disk(file, self.folder), chunk)  # type: ignore[arg-type]

        monkeypatch.setattr(BoundedFolder, "write", limited)
        return room

    def test_other_copies_make_room(self, server: Server, tmp_path: Path, disk: list[int]) -> None:
        cache = cache_in(tmp_path)
        for number in range(5):
            assert cache.local(f"{server.address}/{number}.tar").read_bytes() == bytes([number]) * SIZE
        assert len(copies(cache)) == 2

    def test_some_room_is_left_to_others(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache = cache_in(tmp_path)

        def usage(folder: Path) -> SimpleNamespace:
            used = sum(path.stat().st_size for path in folder.iterdir())
            return SimpleNamespace(total=40_000, free=40_000 - used)

        monkeypatch.setattr(bounded_folder.shutil, "disk_usage", usage)
        for number in range(6):
            cache.local(f"{server.address}/{number}.tar")
            assert usage(cache.settings.folder).free >= 2000  # a twentieth
        assert len(copies(cache)) == 3

    def test_a_shard_fails_when_nothing_can(self, server: Server, tmp_path: Path, disk: list[int]) -> None:
        disk[0] = 5000
        cache = cache_in(tmp_path)
        with pytest.raises(FetchError) as caught:
            cache.local(f"{server.address}/1.tar")
        assert caught.value.reason == "cache_full"
        assert copies(cache) == set()


def test_several_processes_fetch_each_shard_once(server: Server, tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    addresses = [f"{server.address}/{number % 4}.tar" for number in range(24)]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(cache.local, addresses) == [cache.path_of(address) for address in addresses]
    assert set(server.requests.values()) == {1}


def test_what_a_dead_process_left_is_removed_in_time(server: Server, tmp_path: Path) -> None:
    cache = cache_in(tmp_path, shards=2.5)
    cache.local(f"{server.address}/0.tar")
    left = cache.settings.folder / f"{0:032x}.123.part"
    left.write_bytes(bytes(SIZE))
    os.utime(left, (time.time() - 9000, time.time() - 9000))
    cache.local(f"{server.address}/1.tar")
    assert not left.exists()


def test_files_of_others_are_neither_counted_nor_removed(server: Server, tmp_path: Path) -> None:
    cache = cache_in(tmp_path, shards=1.5)
    cache.settings.folder.mkdir()
    theirs = [cache.settings.folder / name for name in ("train.tar", "train.tar.index", "x.part", "job.failed")]
    for path in theirs:
        path.write_bytes(bytes(2 * SIZE))
        os.utime(path, (0, 0))
    for number in range(4):
        assert cache.local(f"{server.address}/{number}.tar").read_bytes() == bytes([number]) * SIZE
    cache.forget_failures()
    assert all(path.stat().st_size == 2 * SIZE for path in theirs)


def test_output_of_a_command_that_fails_at_its_end_is_not_kept(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, retries=0)
    address = "pipe:head -c 5000 /dev/zero; exit 3"
    for _ in range(2):
        with pytest.raises(FetchError) as caught:
            cache.local(address)
        assert caught.value.reason == "command_failed"
        assert copies(cache) == set()
        cache.forget_failures()


def test_too_many_open_files_is_no_failure_of_the_shard(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        with pytest.raises(OSError, match="Too many open files"):
            cache.local(f"{server.address}/1.tar")
    assert cache.local(f"{server.address}/1.tar").exists()  # nothing was noted


def test_a_folder_that_cannot_be_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(FetchError) as caught:
        cache_in(tmp_path).local(f"{server.address}/1.tar")
    assert caught.value.reason == "cache_unusable"


class TestReplaced:
    """A shard becomes another file at its address."""

    @staticmethod
    def put(server: Server, data: bytes, etag: str) -> str:
        """Serve other bytes of the same length."""
        (server.root / "1.tar").write_bytes(data)
        server.headers["1.tar"] = {"ETag": etag}
        return f"{server.address}/1.tar"

    def test_it_is_fetched_again_by_the_next_run(
        self, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        address = self.put(server, b"a" * SIZE, "1")
        first = cache_in(tmp_path)
        assert first.local(address).read_bytes() == b"a" * SIZE
        self.put(server, b"b" * SIZE, "2")
        assert first.local(address).read_bytes() == b"a" * SIZE and not server.asked  # looked at once a run
        before = time.time()
        assert cache_in(tmp_path).local(address).read_bytes() == b"b" * SIZE
        assert (server.requests["1.tar"], server.asked["1.tar"]) == (2, 1)
        assert "1.tar was replaced since it was fetched" in caplog.text
        assert first.was_replaced(address, before - 5) and not first.was_replaced(address, time.time() + 5)
        assert not first.was_replaced(f"{server.address}/2.tar", 0)

    def test_the_processes_of_a_run_ask_once(self, server: Server, tmp_path: Path) -> None:
        address = self.put(server, b"a" * SIZE, "1")
        cache_in(tmp_path).local(address)
        cache = cache_in(tmp_path)
        for _ in range(2):
            with multiprocessing.get_context("fork").Pool(4) as pool:
                pool.map(cache.local, [address] * 8, chunksize=1)
        assert (server.requests["1.tar"], server.asked["1.tar"]) == (1, 1)
        self.put(server, b"b" * SIZE, "2")
        cache = cache_in(tmp_path)
        with multiprocessing.get_context("fork").Pool(4) as pool:
            assert {path.read_bytes() for path in pool.map(cache.local, [address] * 8)} == {b"b" * SIZE}
        assert (server.requests["1.tar"], server.asked["1.tar"]) == (2, 2)

    def test_a_copy_of_which_nothing_was_kept_is_compared_by_size(self, server: Server, tmp_path: Path) -> None:
        address = f"{server.address}/1.tar"
        copy = cache_in(tmp_path).local(address)
        copy.with_suffix(".version").unlink()
        assert cache_in(tmp_path).local(address).exists() and server.requests["1.tar"] == 1
        copy.with_suffix(".version").unlink()
        (server.root / "1.tar").write_bytes(b"longer" * SIZE)
        assert cache_in(tmp_path).local(address).stat().st_size == 6 * SIZE

    @pytest.mark.parametrize("answer", [500, 501, 405, "stall"])
    def test_a_server_that_does_not_say_is_not_asked_on_and_on(
        self, server: Server, tmp_path: Path, answer: int | str
    ) -> None:
        addresses = [f"{server.address}/{number}.tar" for number in range(8)]
        for address in addresses:
            cache_in(tmp_path).local(address)
        server.answer_to_asking = answer
        cache, began = cache_in(tmp_path, timeout=0.3), time.perf_counter()
        for address in addresses:
            cache.local(address)
        assert server.asked.total() == 1 and time.perf_counter() - began < 2

    def test_a_shard_that_is_gone_is_still_here_and_the_others_are_compared(
        self, server: Server, tmp_path: Path
    ) -> None:
        address = self.put(server, b"a" * SIZE, "1")
        other = f"{server.address}/2.tar"
        for name in (address, other):
            cache_in(tmp_path).local(name)
        (server.root / "1.tar").unlink()
        cache = cache_in(tmp_path)
        assert cache.local(address).read_bytes() == b"a" * SIZE
        cache.local(other)
        assert server.asked == {"1.tar": 1, "2.tar": 1}

    def test_a_copy_stays_when_its_successor_cannot_be_had(self, server: Server, tmp_path: Path) -> None:
        address = self.put(server, b"a" * SIZE, "1")
        cache_in(tmp_path).local(address)
        self.put(server, b"b" * SIZE, "2")
        server.faults["1.tar"] = "drop"
        assert cache_in(tmp_path, retries=0).local(address).read_bytes() == b"a" * SIZE
        server.faults.clear()
        assert cache_in(tmp_path, retries=0).local(address).read_bytes() == b"b" * SIZE

    def test_a_read_only_folder_is_used_as_it_is(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        address = self.put(server, b"a" * SIZE, "1")
        cache_in(tmp_path).local(address)
        self.put(server, b"b" * SIZE, "2")
        monkeypatch.setattr(shard_cache, "locked", Mock(side_effect=PermissionError(13, "read-only")))
        assert cache_in(tmp_path).local(address).read_bytes() == b"a" * SIZE

    def test_an_object_store(self, tmp_path: Path) -> None:
        import fsspec

        store = fsspec.filesystem("memory")
        store.pipe("/replaced/1.tar", b"a" * SIZE)
        assert cache_in(tmp_path).local("memory://replaced/1.tar").read_bytes() == b"a" * SIZE
        assert cache_in(tmp_path).local("memory://replaced/1.tar").read_bytes() == b"a" * SIZE
        store.pipe("/replaced/1.tar", b"b" * SIZE)
        assert cache_in(tmp_path).local("memory://replaced/1.tar").read_bytes() == b"b" * SIZE
