"""Images from tar shards, read one by one in any order."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import pickle
from pathlib import Path

import pytest
import torch

from franca.config.recipes import load_recipe
from franca.data import open_shards
from franca.data.collate import PretrainingData
from franca.data.loader import make_loader
from franca.data.sample import BadSample
from franca.data.webdataset import TarSource
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


def test_damage_counts_as_one_bad_sample_of_its_shard(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths[0].write_bytes(paths[0].read_bytes()[: 4 * 1024 + 1600])  # in the third sample
    (tmp_path / "page.tar").write_text("<html>gone</html>")
    empty = write_tar(tmp_path / "empty.tar", [])
    source = TarSource([paths[0], tmp_path / "page.tar", empty, paths[1]], "here")
    assert source.group_sizes == (3, 1, 2)
    assert grey_values(source, [0, 1, 4, 5]) == [0, 1, 3, 4]
    assert reason(source, 2) == ("0.tar/#2", "damaged_shard")
    assert reason(source, 3) == ("page.tar/#0", "damaged_shard")
    assert reason(source, 2) == ("0.tar/#2", "damaged_shard")
    assert caplog.text.count("0.tar: cut off in a file; 2 samples") == 1


def test_a_shard_that_cannot_be_read_at_the_start_is_one_bad_sample(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = tmp_path / "packed.tar"
    packed.write_bytes(gzip.compress(paths[0].read_bytes()))
    source = TarSource([tmp_path / "gone.tar", packed, *paths], "here")
    assert source.group_sizes == (1, 1, 3, 2)
    assert [reason(source, index)[1] for index in (0, 1)] == ["unreadable", "unreadable"]
    assert grey_values(source, [2, 6]) == [0, 4]
    assert "2 of 4 tars of here cannot be read, and count as bad samples (first: " in caplog.text
    with pytest.raises(DataError, match=r"None of the 2 tars of here can be read\. First: .*gone\.tar"):
        TarSource([tmp_path / "gone.tar", packed], "here")


def test_no_image_at_all(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.txt", b"words")])
    with pytest.raises(DataError, match=r"No image in the 1 tars of here: looked for .*\.jpg"):
        TarSource([path], "here")


@pytest.mark.parametrize(("stated", "bad"), [(5, {3, 4}), (2, set())])
def test_a_count_that_does_not_fit_the_shard_is_said_once(
    stated: int, bad: set[int], paths: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    paths[0].with_name("0_stats.json").write_text(json.dumps({"count": 9, "successes": stated}))
    source = TarSource(paths, "here")
    assert source.group_sizes == (stated, 2)
    for index in range(len(source)):
        if index in bad:
            assert reason(source, index) == (f"0.tar/#{index}", "missing")
        else:
            source.read(index)
    assert caplog.text.count(f"0.tar holds 3 samples, not {stated} as was counted") == 1


def test_captions_and_json_ride_along_when_asked_for(tmp_path: Path) -> None:
    members = [("a.png", picture()), ("a.json", b'{"n": 1}'), ("a.txt", "Käse".encode()), ("b.png", picture())]
    path = write_tar(tmp_path / "x.tar", [*members, ("c.png", picture()), ("c.json", b"{"), ("c.txt", b"\xff")])
    plain, rich = TarSource([path], "here"), TarSource([path], "here", extras=("json", "caption"))
    assert (plain.read(0).caption, plain.read(0).json) == (None, None)
    found = [(sample.caption, sample.json) for sample in map(rich.read, range(3))]
    assert found == [("Käse", {"n": 1}), (None, None), ("\ufffd", None)]


def test_bad_members_and_lost_shards_are_bad_samples(paths: list[Path], tmp_path: Path) -> None:
    broken = write_tar(tmp_path / "b.tar", [("e.png", b""), ("t.png", b"text")])
    source = TarSource([broken, *paths], "here")
    assert reason(source, 0) == ("b.tar/e", "empty")
    assert reason(source, 1) == ("b.tar/t", "not_an_image")
    paths[0].unlink()
    assert reason(source, 2) == ("0.tar/#0", "unreadable")
    paths[1].write_bytes(paths[1].read_bytes()[:1600])
    assert reason(source, 5) == ("1.tar/#0", "damaged_shard")


def test_a_shard_that_shrinks_while_it_is_open(paths: list[Path]) -> None:
    source = TarSource(paths, "here")
    source.read(4)
    os.truncate(paths[1], 1600)
    assert reason(source, 3) == ("1.tar/k3", "truncated")


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
    file = source._shards.opened(0).file
    assert file is not None
    before = file.tell()
    process = multiprocessing.get_context("fork").Process(target=_read_elsewhere, args=(source,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert file.tell() == before


def _read_elsewhere(source: TarSource) -> None:
    assert grey_values(source, [2, 1]) == [2, 1]


def test_only_a_few_shards_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_shards, "MAX_OPEN", 3)
    paths = [write_tar(tmp_path / f"{v}.tar", [("a.png", picture(v))]) for v in range(6)]
    source = TarSource(paths, "here")
    order = [0, 1, 2, 0, 3, 4, 5, 0]
    assert grey_values(source, order) == order
    assert list(source._shards._open) == [4, 5, 0]


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_share_one_small_shard(paths: list[Path], workers: int) -> None:
    config = load_recipe("tiny", ["data.train=x", "train.global_batch=2", "objective.koleo_weight=0"])
    data = PretrainingData.from_config(TarSource(paths[:1], "here"), config)
    batches = make_loader(data, start=0, stop=6, workers=workers, device=torch.device("cpu"))
    for item, batch in enumerate(batches):
        assert torch.equal(batch.samples, data[item].samples)
        assert torch.equal(batch.global_crops, data[item].global_crops)
    assert item == 5


def test_one_tar_per_synset(test_data: Path) -> None:
    paths = sorted((test_data / "imagenet21k_layout").glob("*.tar"))
    source = TarSource(paths, "synsets", labels=True)
    assert (len(source), len(source.class_names or ())) == (280, 50)
    assert source.class_names == tuple(path.stem for path in paths)
    gzipped = next(i for i in range(280) if source.read_encoded(i).data.startswith(b"\x1f\x8b"))
    assert source.read_encoded(gzipped).key.startswith("n03888257.tar/n03888257_79004")
    assert source.read(gzipped).image.shape == (3, 224, 224)


def test_img2dataset_shards(test_data: Path) -> None:
    folder = test_data / "laion_layout"
    source = TarSource(sorted(folder.glob("*.tar")), "captions", extras=("caption", "json"))
    assert source.group_sizes == (50, 51)
    sample = source.read(50)
    assert sample.key.startswith("00001.tar/00001")
    assert sample.json["caption"] == sample.caption
    assert all(min(source.read(index).image.shape[1:]) <= 256 for index in range(0, 101, 10))


def test_files_that_no_sample_uses_are_told_of_once_where_the_start_did_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [write_tar(tmp_path / f"{n}.tar", [("a.png", picture()), ("a.npy", b"x")]) for n in range(3)]
    source = TarSource(paths, "here")
    assert source.passed_over == {".npy": 3}
    known = TarSource.of_counts([(str(path), 1) for path in paths], "here")
    for opened in (source, known):
        for index in range(3):
            opened.read(index)
    assert caplog.text.count("holds files that no sample uses: 1 (.npy 1)") == 1
