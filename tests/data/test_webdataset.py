"""Images from tar shards, read one by one in any order."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import pytest
import torch

from franca.data.sample import BadSample
from franca.data.webdataset import TarSource, _ShardFiles
from franca.errors import DataError

from .tars import picture, write_tar


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two shards of 3 and 2 samples of grey values 0..4, labelled with ten times that."""
    values = [[0, 1, 2], [3, 4]]
    return [
        write_tar(
            tmp_path / f"{shard}.tar",
            [item for v in part for item in ((f"k{v}.cls", b"%d" % (10 * v)), (f"k{v}.png", picture(v)))],
        )
        for shard, part in enumerate(values)
    ]


def grey_values(source: TarSource, order: list[int]) -> list[int]:
    return [int(source.read(index).image[0, 0, 0]) for index in order]


def test_samples_in_order_across_shards(paths: list[Path]) -> None:
    source = TarSource(paths, "here", labels=True)
    assert (len(source), source.group_sizes, source.location) == (5, (3, 2), "here")
    samples = [source.read(index) for index in range(5)]
    assert [sample.key for sample in samples] == ["0.tar/k0", "0.tar/k1", "0.tar/k2", "1.tar/k3", "1.tar/k4"]
    assert grey_values(source, [4, 0, 3, 3, 1, 2]) == [4, 0, 3, 3, 1, 2]
    assert source.class_names == ("0", "10", "20", "30", "40")
    assert [sample.label for sample in samples] == [0, 1, 2, 3, 4]


def test_labels_are_not_needed(paths: list[Path]) -> None:
    source = TarSource(paths, "here")
    assert source.class_names is None
    assert source.read(0).label is None


def test_damaged_and_empty_shards_do_not_stop_the_others(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths[0].write_bytes(paths[0].read_bytes()[: 4 * 1024 + 600])  # in the third sample
    (tmp_path / "page.tar").write_text("<html>gone</html>")
    empty = write_tar(tmp_path / "empty.tar", [])
    source = TarSource([paths[0], tmp_path / "page.tar", empty, paths[1]], "here")
    assert source.group_sizes == (2, 2)
    assert grey_values(source, [0, 1, 2, 3]) == [0, 1, 3, 4]
    assert "0.tar: unexpected end of data; 2 samples" in caplog.text
    assert "page.tar" in caplog.text
    assert "empty.tar" not in caplog.text


def test_no_image_at_all(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.txt", b"words")])
    with pytest.raises(DataError, match=r"No image in the 1 tars of here \(first: .*x.tar\): looked for .*\.jpg"):
        TarSource([path], "here")


def test_bad_members_and_lost_shards_are_bad_samples(paths: list[Path], tmp_path: Path) -> None:
    broken = write_tar(tmp_path / "b.tar", [("e.png", b""), ("t.png", b"text")])
    source = TarSource([broken, *paths], "here")
    assert reason(source, 0) == ("b.tar/e", "empty")
    assert reason(source, 1) == ("b.tar/t", "not_an_image")
    paths[0].unlink()
    assert reason(source, 2) == ("0.tar/k0", "unreadable")
    paths[1].write_bytes(paths[1].read_bytes()[:1600])
    assert reason(source, 5) == ("1.tar/k3", "truncated")


def reason(source: TarSource, index: int) -> tuple[str, str]:
    with pytest.raises(BadSample) as caught:
        source.read(index)
    return caught.value.key, caught.value.reason


def test_pickled_source_opens_its_own_files(paths: list[Path]) -> None:
    source = TarSource(paths, "here", labels=True)
    source.read(0)
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.read(4).image, source.read(4).image)
    assert again.read(4).label == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_process_does_not_move_its_parents_file_position(paths: list[Path]) -> None:
    source = TarSource(paths, "here")
    source.read(0)
    files = source._files._open
    before = files[0].tell()
    process = multiprocessing.get_context("fork").Process(target=_read_elsewhere, args=(source,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert files[0].tell() == before


def _read_elsewhere(source: TarSource) -> None:
    assert grey_values(source, [2, 1]) == [2, 1]


def test_only_a_few_shards_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ShardFiles, "MAX_OPEN", 3)
    paths = [write_tar(tmp_path / f"{v}.tar", [("a.png", picture(v))]) for v in range(6)]
    source = TarSource(paths, "here")
    order = [0, 1, 2, 0, 3, 4, 5, 0]
    assert grey_values(source, order) == order
    assert list(source._files._open) == [4, 5, 0]


def test_one_tar_per_synset(test_data: Path) -> None:
    paths = sorted((test_data / "imagenet21k_layout").glob("*.tar"))
    source = TarSource(paths, "synsets", labels=True)
    assert (len(source), len(source.class_names or ())) == (280, 50)
    assert source.class_names == tuple(path.stem for path in paths)
    gzipped = next(i for i in range(280) if source._keys[i].startswith("n03888257.tar/n03888257_79004"))
    assert source.read(gzipped).image.shape == (3, 224, 224)


def test_img2dataset_shards(test_data: Path) -> None:
    source = TarSource(sorted((test_data / "laion_layout").glob("*.tar")), "captions")
    assert source.group_sizes == (50, 51)
    assert source.read(50).key.startswith("00001.tar/00001")
    assert all(min(source.read(index).image.shape[1:]) <= 256 for index in range(0, 101, 10))
