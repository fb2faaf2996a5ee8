"""Where the labels of tar shards come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.data.open_shards import OpenShards
from franca.data.shard_cache import RemoteSettings, ShardCache
from franca.data.tar_index import index_shard
from franca.data.tar_labels import tar_labels
from franca.data.webdataset import TarSource
from franca.errors import DataError

from .tars import picture, write_tar


def labels_of(root: Path, **members: list[tuple[str, bytes]]) -> tuple[tuple[str, ...], list[int]]:
    paths = [write_tar(root / f"{name}.tar", content) for name, content in members.items()]
    shards = OpenShards(paths, ShardCache(RemoteSettings()))
    names, labels = tar_labels(shards, [index_shard(path).num_samples for path in paths], "here")
    return names, labels.tolist()


def labelled(*texts: bytes) -> list[tuple[str, bytes]]:
    return [item for i, text in enumerate(texts) for item in ((f"{i}.cls", text), (f"{i}.png", picture()))]


UNLABELLED = [("a_1.png", picture()), ("a_2.png", picture())]


def test_class_numbers_sort_as_numbers(tmp_path: Path) -> None:
    names, labels = labels_of(tmp_path, x=labelled(b"10", b"9\n"), y=labelled(b"100", b"9"))
    assert names == ("9", "10", "100")
    assert labels == [1, 0, 2, 0]


def test_class_names_sort_as_text_after_numbers(tmp_path: Path) -> None:
    names, labels = labels_of(tmp_path, x=labelled(b"dog", "Käse".encode(), b"sheep", b"2"))
    assert names == ("2", "Käse", "dog", "sheep")
    assert labels == [2, 1, 3, 0]


def test_a_tar_per_synset_is_a_class_per_tar(tmp_path: Path) -> None:
    names, labels = labels_of(tmp_path, n02085620=UNLABELLED, n02085782=UNLABELLED[:1])
    assert names == ("n02085620", "n02085782")
    assert labels == [0, 0, 1]


def test_a_tar_per_name_is_a_class_per_tar(tmp_path: Path) -> None:
    names, labels = labels_of(tmp_path, dog=UNLABELLED, cat=UNLABELLED)
    assert names == ("cat", "dog")
    assert labels == [1, 1, 0, 0]


@pytest.mark.parametrize("names", [("00000", "00001"), ("train-000", "train-017", "val-000"), ("only",)])
def test_numbered_shards_are_no_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No labels in here: .* have no \.cls member .*a_1"):
        labels_of(tmp_path, **dict.fromkeys(names, UNLABELLED))


def test_one_missing_label_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 4 samples have no .cls member \(first: .*x\.tar/z\)"):
        labels_of(tmp_path, x=[*labelled(b"1", b"2"), ("z.png", picture())], y=labelled(b"1"))


@pytest.mark.parametrize("text", [b"", b" \n", b"\xff\xfe", b"a\0b"])
def test_label_that_is_no_name(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.tar/0\.cls holds .* Expected a class number or name"):
        labels_of(tmp_path, x=labelled(text))


def test_places_of_a_damaged_shard_keep_the_labels_of_the_others(tmp_path: Path) -> None:
    paths = [write_tar(tmp_path / f"{name}.tar", UNLABELLED) for name in ("cat", "dog")]
    paths[0].write_bytes(paths[0].read_bytes()[:1600])  # in the second of two samples
    source = TarSource(paths, "here", labels=True)
    assert source.class_names == ("cat", "dog")
    assert source.group_sizes == (2, 2)
    assert [source.read(index).label for index in (0, 2, 3)] == [0, 1, 1]
    assert source.labels is not None and source.labels.tolist() == [0, -1, 1, 1]
    assert TarSource(paths, "here").labels is None
