"""What is found in a tar, whole or damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from franca.data.tar_index import index_shard
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
    assert index.damage is None
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
    assert (len(index.entries), index.damage) == (2, "broken header")


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
