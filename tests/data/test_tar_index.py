"""What is found in a tar, whole or damaged, and how it is kept."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from franca.data import tar_index
from franca.data.tar_index import CAPTION, JSON, LABEL, Span, cached_summary, index_places, index_shard
from franca.errors import DataError

from .tars import picture, write_tar


def found(path: Path) -> list[tuple[str, bool]]:
    return [(entry.key, entry.label is not None) for entry in index_shard(path).entries]


def test_members_are_grouped_up_to_the_first_dot_of_the_name(tmp_path: Path) -> None:
    members = [
        ("./one.json", b"{}"),
        ("./one.jpg", b"A"),
        ("two.cls", b"7"),
        ("two.JPEG", b"BB"),
        ("a.b/three.rgb.png", b"CCC"),
        ("a.b/three.txt", b"words"),
        ("a.b/three.cls", b"8"),
        ("four.txt", b"no image"),
        (".hidden.png", b"D"),
        ("no_extension", b"E"),
    ]
    index = index_shard(write_tar(tmp_path / "x.tar", members))
    assert (index.damage, index.passed_over) == (
        None,
        {".txt without an image": 1, "hidden": 1, "no ending": 1},
    )
    assert [entry.key for entry in index.entries] == ["one", "two", "a.b/three"]
    data = (tmp_path / "x.tar").read_bytes()
    spans = [(entry.image, entry.label) for entry in index.entries]
    texts = [[data[s.offset : s.offset + s.size] if s else None for s in pair] for pair in spans]
    assert texts == [[b"A", None], [b"BB", b"7"], [b"CCC", b"8"]]


def test_a_key_that_comes_twice_is_two_samples(tmp_path: Path) -> None:
    members = [
        ("a.cls", b"1"),
        ("a.png", b"A"),
        ("a.cls", b"2"),
        ("a.png", b"B"),
        ("b.png", b"C"),
        ("a.jpg", b"D"),
    ]
    path = write_tar(tmp_path / "x.tar", members)
    assert found(path) == [("a", True), ("a", True), ("b", False), ("a", False)]


def test_samples_before_a_cut_are_kept(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [(f"{i}.png", bytes(2000)) for i in range(5)])
    whole = path.read_bytes()
    for cut, kept in (
        (1024, 0),
        (512 + 2048, 1),
        (3 * 2560 + 100, 3),
        (3 * 2560 + 512 + 1999, 3),
        (4 * 2560, 4),
    ):
        path.write_bytes(whole[:cut])
        index = index_shard(path)
        assert len(index.entries) == kept, cut
        assert (index.damage is None) == (cut in (512 + 2048, 4 * 2560)), cut


def test_samples_before_a_broken_header_are_kept(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [(f"{i}.png", bytes(2000)) for i in range(5)])
    data = bytearray(path.read_bytes())
    data[2 * 2560 : 2 * 2560 + 512] = b"?" * 512
    path.write_bytes(data)
    index = index_shard(path)
    assert (len(index.entries), index.damage, index.num_samples) == (2, "broken header", 3)


def test_tar_without_members_is_whole_and_empty(tmp_path: Path) -> None:
    index = index_shard(write_tar(tmp_path / "x.tar", []))
    assert (index.entries, index.damage) == ([], None)


@pytest.mark.parametrize("data", [b"", b"<html>gone</html>", picture()])
def test_what_is_no_tar_is_damaged(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    index = index_shard(tmp_path / "x.tar")
    assert index.entries == []
    assert index.damage


def test_compressed_tar_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.png", picture())])
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"x\.tar is compressed.*gunzip"):
        index_shard(path)


def test_missing_tar(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot open .*x\.tar: No such file"):
        index_shard(tmp_path / "x.tar")


def test_captions_and_json_have_their_place(tmp_path: Path) -> None:
    members = [("a.png", b"A"), ("a.txt", b"words"), ("b.json", b"{}"), ("b.png", b"B"), ("c.png", b"C")]
    path = write_tar(tmp_path / "x.tar", members)
    index, data = index_shard(path), path.read_bytes()

    def text(part: str, number: int) -> bytes | None:
        span = index.span(part, number)
        return span and data[span.offset : span.offset + span.size]

    assert [text(CAPTION, number) for number in range(3)] == [b"words", None, None]
    assert [text(JSON, number) for number in range(3)] == [None, b"{}", None]
    assert index.span(LABEL, 0) is None


class TestKeeping:
    """The index file: beside the tar or in the cache folder, made once, made again when the tar is another."""

    @pytest.fixture
    def tar(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("FRANCA_CACHE", str(tmp_path / "cache"))
        return write_tar(tmp_path / "data/x.tar", [("a.png", b"A"), ("b.cls", b"1"), ("b.png", b"BB")])

    def test_beside_the_tar_and_used_from_there(self, tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert cached_summary(tar) is None
        first = index_shard(tar)
        assert sorted(path.name for path in tar.parent.iterdir()) == ["x.tar", "x.tar.index"]
        monkeypatch.setattr(tar_index, "_scan", None)
        again = index_shard(tar)
        assert cached_summary(tar) == (len(again), {}) == (2, {})
        assert again.entries == first.entries
        assert _is_mapped(again.spans["image"]) and _is_mapped(again.keys.characters)

    def test_in_the_cache_folder_when_the_other_is_read_only(self, tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write = tar_index.write_arrays

        def read_only(path: Path, *rest: object) -> None:
            if path.parent == tar.parent:
                raise PermissionError(13, "read-only")
            write(path, *rest)

        monkeypatch.setattr(tar_index, "write_arrays", read_only)
        assert len(index_shard(tar)) == 2
        assert [place.exists() for place in index_places(tar)] == [False, True]
        assert cached_summary(tar) == (2, {})

    def test_in_memory_when_nothing_can_be_written(
        self, tar: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tar_index, "write_arrays", full)
        assert [entry.key for entry in index_shard(tar).entries] == ["a", "b"]
        assert "is held in memory" in caplog.text

    def test_made_again_when_the_tar_has_changed(self, tar: Path) -> None:
        index_shard(tar)
        before = os.stat(tar)
        write_tar(tar, [("c.png", b"C"), ("d.cls", b"1"), ("d.png", b"DD")])
        assert os.stat(tar).st_size == before.st_size
        os.utime(tar, ns=(0, before.st_mtime_ns + 1))
        assert cached_summary(tar) is None
        assert [entry.key for entry in index_shard(tar).entries] == ["c", "d"]

    @pytest.mark.parametrize("keep", [0, 5, 20, 100, -1])
    def test_made_again_when_it_is_damaged(self, tar: Path, keep: int) -> None:
        index_shard(tar)
        place, _ = index_places(tar)
        place.write_bytes(place.read_bytes()[:keep])
        assert [entry.key for entry in index_shard(tar).entries] == ["a", "b"]

    def test_several_processes_at_once(self, tar: Path) -> None:
        with multiprocessing.get_context("fork").Pool(4) as pool:
            assert pool.map(_count, [tar] * 16) == [2] * 16
        assert sorted(path.name for path in tar.parent.iterdir()) == ["x.tar", "x.tar.index"]

    def test_a_large_shard_opens_at_once_and_takes_little_room(self, tar: Path) -> None:
        write_tar(tar, [(f"{i:09d}.{part}", b"x") for i in range(2000) for part in ("jpg", "json", "txt")])
        index_shard(tar)
        began = time.perf_counter()
        index = index_shard(tar)
        assert time.perf_counter() - began < 0.02
        assert index.span("image", 1999) == Span(tar.read_bytes().index(b"000001999.jpg") + 512, 1)
        assert index_places(tar)[0].stat().st_size < 70 * 2000


def _is_mapped(array: np.ndarray) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def _count(path: Path) -> int:
    return len(index_shard(path))
