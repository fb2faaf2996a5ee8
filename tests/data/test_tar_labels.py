"""Where the labels of tar shards come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.data.tar_index import Entry, index_shard
from franca.data.tar_labels import tar_labels
from franca.errors import DataError

from .tars import picture, write_tar


def shards(root: Path, **members: list[tuple[str, bytes]]) -> dict[Path, list[Entry]]:
    paths = [write_tar(root / f"{name}.tar", content) for name, content in members.items()]
    return {path: index_shard(path).entries for path in paths}


def labelled(*texts: bytes) -> list[tuple[str, bytes]]:
    return [item for i, text in enumerate(texts) for item in ((f"{i}.cls", text), (f"{i}.png", picture()))]


UNLABELLED = [("a_1.png", picture()), ("a_2.png", picture())]


def test_class_numbers_sort_as_numbers(tmp_path: Path) -> None:
    names, labels = tar_labels(shards(tmp_path, x=labelled(b"10", b"9\n"), y=labelled(b"100", b"9")), "here")
    assert names == ("9", "10", "100")
    assert labels.tolist() == [1, 0, 2, 0]


def test_class_names_sort_as_text_after_numbers(tmp_path: Path) -> None:
    names, labels = tar_labels(shards(tmp_path, x=labelled(b"dog", "Käse".encode(), b"sheep", b"2")), "here")
    assert names == ("2", "Käse", "dog", "sheep")
    assert labels.tolist() == [2, 1, 3, 0]


def test_a_tar_per_synset_is_a_class_per_tar(tmp_path: Path) -> None:
    found = shards(tmp_path, n02085620=UNLABELLED, n02085782=UNLABELLED[:1])
    names, labels = tar_labels(found, "here")
    assert names == ("n02085620", "n02085782")
    assert labels.tolist() == [0, 0, 1]


def test_a_tar_per_name_is_a_class_per_tar(tmp_path: Path) -> None:
    names, labels = tar_labels(shards(tmp_path, dog=UNLABELLED, cat=UNLABELLED), "here")
    assert names == ("cat", "dog")
    assert labels.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("names", [("00000", "00001"), ("train-000", "train-017", "val-000"), ("only",)])
def test_numbered_shards_are_no_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    found = shards(tmp_path, **dict.fromkeys(names, UNLABELLED))
    with pytest.raises(DataError, match=r"No labels in here: .* have no \.cls member .*a_1"):
        tar_labels(found, "here")


def test_one_missing_label_is_an_error(tmp_path: Path) -> None:
    found = shards(tmp_path, x=[*labelled(b"1", b"2"), ("z.png", picture())], y=labelled(b"1"))
    with pytest.raises(DataError, match=r"1 of 4 samples have no .cls member \(first: .*x\.tar/z\)"):
        tar_labels(found, "here")


@pytest.mark.parametrize("text", [b"", b" \n", b"\xff\xfe", b"a\0b"])
def test_label_that_is_no_name(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.tar/0\.cls holds .* Expected a class number or name"):
        tar_labels(shards(tmp_path, x=labelled(text)), "here")
