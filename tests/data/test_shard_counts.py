"""Counts of shards, found without reading them where that is possible."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from franca.data import shard_cache, shard_counts
from franca.data.shard_cache import RemoteSettings, ShardCache
from franca.data.shard_counts import count_samples
from franca.data.tar_index import index_shard
from franca.errors import DataError

from .servers import serve
from .tars import write_tar


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(RemoteSettings(folder=tmp_path / "cache", timeout_seconds=1, retries=0))


@pytest.fixture
def tars(tmp_path: Path) -> list[Path]:
    """Three tars of 1, 2 and 3 samples."""
    return [write_tar(tmp_path / f"shards/{n}.tar", [(f"{i}.png", b"x") for i in range(n)]) for n in (1, 2, 3)]


def numbers(*arguments: Any) -> list[int]:
    """Samples of each shard."""
    return count_samples(*arguments).num_samples


def test_headers_are_read_once(tars: list[Path], cache: ShardCache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers(tars, "here", cache) == [1, 2, 3]
    monkeypatch.setattr(shard_counts, "_scanned", None)
    assert numbers(tars, "here", cache) == [1, 2, 3]


def test_what_others_wrote_goes_first_and_an_index_changes_nothing(tars: list[Path], cache: ShardCache) -> None:
    tars[0].with_name("1_stats.json").write_text(json.dumps({"count": 12, "successes": 11}))
    tars[0].with_name("sizes.json").write_text(json.dumps({"1.tar": 5, "2.tar": 22}))
    for _ in range(2):
        assert numbers(tars, "here", cache) == [11, 22, 3]
        for tar in tars:
            index_shard(tar)


@pytest.mark.parametrize("stats", ["", "[]", "{}", '{"successes": "many"}', '{"successes": -1}'])
def test_stats_that_say_nothing_are_passed_over(stats: str, tars: list[Path], cache: ShardCache) -> None:
    tars[0].with_name("2_stats.json").write_text(stats)
    tars[0].with_name("sizes.json").write_text(stats)
    assert numbers(tars, "here", cache) == [1, 2, 3]


def test_many_tars_are_read_by_several_processes(tmp_path: Path, cache: ShardCache) -> None:
    paths = [write_tar(tmp_path / f"{n}.tar", [(f"{i}.png", b"x") for i in range(n)]) for n in range(20)]
    (tmp_path / "7.tar").write_bytes(b"\x1f\x8b")
    assert numbers(paths, "here", cache) == [0, 1, 2, 3, 4, 5, 6, 1, *range(8, 20)]


def test_six_thousand_shards_start_at_once(tmp_path: Path, cache: ShardCache) -> None:
    """No shard is opened: these are no tars at all."""
    paths = [tmp_path / f"{number:05d}.tar" for number in range(6000)]
    for path in paths:
        path.touch()
        path.with_name(f"{path.stem}_stats.json").write_text('{"successes": 10000}')
    began = time.perf_counter()
    assert sum(numbers(paths, "here", cache)) == 60_000_000
    assert time.perf_counter() - began < 3


class TestElsewhere:
    """Counts of shards on a server."""

    def test_from_stats_and_sizes_without_fetching_a_shard(self, tars: list[Path], cache: ShardCache) -> None:
        tars[0].with_name("sizes.json").write_text('{"1.tar": 9}')
        tars[0].with_name("2_stats.json").write_text('{"successes": 8}')
        tars[0].with_name("3_stats.json").write_text('{"successes": 7}')
        with serve(tars[0].parent) as server:
            addresses = [f"{server.address}/{n}.tar" for n in (1, 2, 3)]
            assert numbers(addresses, "there", cache) == [9, 8, 7]
            assert not {name for name in server.requests if name.endswith(".tar")}
            server.requests.clear()
            assert numbers(addresses, "there", cache) == [9, 8, 7]
            assert not server.requests  # kept

    def test_by_fetching_each_once(self, tars: list[Path], cache: ShardCache) -> None:
        with serve(tars[0].parent) as server:
            addresses = [f"{server.address}/{n}.tar" for n in (3, 1, 2)]
            for _ in range(2):
                assert numbers(addresses, "there", cache) == [3, 1, 2]
            assert {name: n for name, n in server.requests.items() if name.endswith(".tar")} == {
                "1.tar": 1, "2.tar": 1, "3.tar": 1,
            }  # fmt: skip

    def test_one_that_was_replaced_is_counted_again_by_the_run_after_the_one_that_found_out(
        self, tars: list[Path], cache: ShardCache
    ) -> None:
        with serve(tars[0].parent) as server:
            addresses = [f"{server.address}/{n}.tar" for n in (3, 1, 2)]
            assert numbers(addresses, "there", cache) == [3, 1, 2]
            write_tar(tars[0], [(f"{i}.png", b"longer" * 500) for i in range(6)])
            later = ShardCache(cache.settings)
            assert numbers(addresses, "there", later) == [3, 1, 2]
            assert len(index_shard(later.local(addresses[1]))) == 6
            assert numbers(addresses, "there", ShardCache(cache.settings)) == [3, 6, 2]
            assert server.requests["1.tar"] == 2

    def test_without_stats_beside_the_first_few_no_more_are_looked_for(self, tmp_path: Path, cache: ShardCache) -> None:
        for number in range(12):
            write_tar(tmp_path / f"{number}.tar", [("a.png", b"x")])
        with serve(tmp_path) as server:
            assert numbers([f"{server.address}/{n}.tar" for n in range(12)], "there", cache) == [1] * 12
            assert sum(name.endswith("_stats.json") for name in server.requests) == 3

    def test_one_that_cannot_be_had_is_one_bad_sample(
        self, tars: list[Path], cache: ShardCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(shard_cache, "_FIRST_PAUSE_SECONDS", 0.0)
        with serve(tars[0].parent) as server:
            server.faults |= {"2.tar": 500, "sizes.json": 500, "1_stats.json": "drop"}
            addresses = [f"{server.address}/{n}.tar" for n in (1, 2, 3)]
            assert numbers(addresses, "there", cache) == [1, 1, 3]
            assert "1 of 3 tars of there cannot be read" in caplog.text
            server.faults.clear()
            cache.forget_failures()
            assert numbers(addresses, "there", cache) == [1, 2, 3]  # nothing wrong was kept
            server.faults |= {f"{n}.tar": 404 for n in (4, 5)}
            with pytest.raises(DataError, match=r"None of the 2 tars of there can be read\. First: .*4\.tar: HTTP"):
                numbers([f"{server.address}/{n}.tar" for n in (4, 5)], "there", cache)


def test_too_many_open_files_is_not_a_bad_shard(
    tars: list[Path], cache: ShardCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EMFILE, "Too many open files")

    def fail(path: Path) -> None:
        raise DataError(f"Cannot read {path}") from error

    monkeypatch.setattr(shard_counts, "index_shard", fail)
    with pytest.raises(DataError, match="ulimit -n"):
        numbers(tars, "here", cache)
    monkeypatch.setattr(ShardCache, "local", Mock(side_effect=error))
    with pytest.raises(DataError, match="ulimit -n"):
        numbers(["pipe:true"], "there", cache)
    monkeypatch.setattr(ShardCache, "read", Mock(side_effect=error))
    with pytest.raises(DataError, match="ulimit -n"):
        numbers(["http://127.0.0.1:9/1.tar"], "there", cache)


def test_files_that_no_sample_uses_are_known_after_the_first_look(tars: list[Path], cache: ShardCache) -> None:
    write_tar(tars[0], [("a.png", b"x"), ("a.npy", b"x"), ("b.txt", b"x")])
    write_tar(tars[1], [("a.png", b"x"), ("a.npy", b"x")])
    for _ in range(2):
        assert count_samples(tars, "here", cache) == ([1, 1, 3], {".npy": 2, ".txt without an image": 1})
    tars[0].with_name("sizes.json").write_text(json.dumps({"1.tar": 1, "2.tar": 1, "3.tar": 3}))
    assert count_samples(tars, "here", cache) == ([1, 1, 3], {})  # nothing was looked into
