"""Recognising what the user points to."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.config.schema import DataConfig, PerformanceConfig, SyntheticConfig
from franca.data import shard_cache
from franca.data.mixture import MixtureSource
from franca.data.sample import BadSample
from franca.data.shard_cache import RemoteSettings
from franca.data.sources import describe, open_source, open_training_source, remote_settings
from franca.errors import DataError

from .servers import serve
from .tars import picture, write_tar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture())
    return tmp_path / "photos"


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    root = tmp_path / "shards"
    for shard in range(3):
        write_tar(root / f"{shard}.tar", [("a.cls", b"%d" % shard), ("a.png", picture())])
    (root / "README.md").write_text("about")
    return root


def test_folder(folder: Path) -> None:
    assert describe(open_source(str(folder))) == "folder, 3 images"
    assert describe(open_source([str(folder)], labels=True)) == "folder, 3 images, 2 classes"


def test_tars_in_every_notation(tars: Path) -> None:
    (tars / "list.txt").write_text("0.tar\n1.tar\n2.tar\n")
    for location in (str(tars), f"{tars}/*.tar", f"{tars}/{{0..2}}.tar", f"@{tars}/list.txt"):
        source = open_source(location, labels=True)
        assert describe(source) == "tar shards, 3 files, 3 images, 3 classes"
        assert source.location == location
    assert describe(open_source([f"{tars}/0.tar", f"{tars}/2.tar"])) == "tar shards, 2 files, 2 images"
    assert describe(open_source(f"{tars}/0.tar")) == "tar shards, 1 file, 1 image"


def test_synthetic_with_its_splits() -> None:
    config = SyntheticConfig(num_images=12_000, num_val_images=30, size_px=16)
    train = open_source("synthetic", synthetic=config)
    val = open_source("synthetic", synthetic=config, split="val", labels=True)
    assert describe(train) == "drawn images, 12,000 images, 8 classes"
    assert len(val) == 30
    assert val.read(3).label == 3


def test_stated_kind_goes_before_recognition(folder: Path, tars: Path) -> None:
    (tars / "cover.png").write_bytes(picture())
    assert open_source(str(tars)).kind == "folder"
    assert len(open_source(str(tars), kind="tar")) == 3
    other_name = (tars / "0.tar").rename(tars / "0.data")
    assert len(open_source(str(other_name), kind="tar")) == 1
    with pytest.raises(DataError, match="No tar in"):
        open_source(str(folder), kind="tar")


def test_drawn_images_have_no_path_and_a_path_is_no_drawn_image(folder: Path) -> None:
    assert open_source("synthetic", kind="synthetic").kind == "synthetic"
    for location, kind in ((str(folder), "synthetic"), ("synthetic", "folder")):
        with pytest.raises(DataError, match="is not of kind"):
            open_source(location, kind=kind)


def test_first_unreadable_images_do_not_matter(folder: Path) -> None:
    for name in ("1.png", "2.png"):
        (folder / "cat" / name).write_bytes(b"")
    assert len(open_source(str(folder))) == 3


def test_no_readable_image(folder: Path, tars: Path) -> None:
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"No readable image in .*all 3 that were tried of 3 failed \(cat/1.png: empty"):
        open_source(str(folder))
    write_tar(tars / "0.tar", [(f"{i:04}.png", b"text") for i in range(1000)])
    with pytest.raises(DataError, match=r"all 16 that were tried of 1,000 failed \(0.tar/0000: not_an_image"):
        open_source(f"{tars}/0.tar")


@pytest.mark.parametrize(
    ("location", "kind", "message"),
    [
        ("none", "auto", "none does not exist. Expected a folder, a tar"),
        ("none", "folder", "none does not exist"),
        ("", "auto", "No data given"),
        ([], "auto", "No data given"),
        ("empty", "auto", "No image in empty: looked for .*found 0 other files"),
        ("note.txt", "auto", "note.txt is neither a folder nor a .tar"),
        ("s3://bucket/{0..9}.tar", "auto", "Cannot open s3:// addresses: Install s3fs"),
        ("gopher://host/{0..9}.tar", "auto", "nothing opens gopher://"),
        ("pipe:exit 3", "auto", "None of the 1 tars of pipe:exit 3 can be read"),
        ("no_such_module:make", "auto", "Cannot make a source of images from no_such_module:make: there is no folder"),
        ("empty", "zip", "Unknown kind of data 'zip'. Expected one of: auto, folder, tar, synthetic"),
        (["empty", "empty"], "folder", "Expected one folder, got 2"),
        ("empty", "tar", "No tar in empty"),
    ],
)
def test_wrong_input(
    location: str | list[str], kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shard_cache, "_FIRST_PAUSE_SECONDS", 0.0)
    Path("empty").mkdir()
    Path("note.txt").write_text("no tar")
    with pytest.raises(DataError, match=message):
        open_source(location, kind=kind)


def test_tars_elsewhere(tars: Path, tmp_path: Path) -> None:
    settings = RemoteSettings(folder=tmp_path / "cache")
    with serve(tars) as server:
        for location in (f"{server.address}/{{0..2}}.tar", f"pipe:cat {tars}/{{0..2}}.tar"):
            source = open_source(location, labels=True, remote=settings)
            assert describe(source) == "tar shards (remote), 3 files, 3 images, 3 classes"
            assert source.read(2).label == 2
        (tars / "list.txt").write_text(f"0.tar\n{server.address}/1.tar\n")
        assert [open_source(f"@{tars}/list.txt", remote=settings).read(i).key for i in (0, 1)] == ["0.tar/a", "1.tar/a"]


def test_a_missing_tar_of_a_list_is_kept_and_counted(tars: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_source([f"{tars}/0.tar", f"{tars}/gone.tar", f"{tars}/2.tar"])
    assert source.group_sizes == (1, 1, 1)
    with pytest.raises(BadSample, match=r"gone\.tar/#0: unreadable"):
        source.read(1)
    assert "1 of 3 tars" in caplog.text


def test_several_sources_with_weights(folder: Path, tars: Path) -> None:
    data = DataConfig(train=[str(folder), f"{tars}/*.tar", "synthetic"], weights=[2, 1, 1])
    source = open_training_source(data, PerformanceConfig())
    assert isinstance(source, MixtureSource)
    assert describe(source) == (
        f"mixture: 50.0% folder, 3 images ({folder}); 25.0% tar shards, 3 files, 3 images ({tars}/*.tar); "
        "25.0% drawn images, 20,000 images, 8 classes (synthetic)"
    )
    assert [source.read(index).key for index in (0, 3, 6)] == ["cat/1.png", "0.tar/a", "train/00000000"]


def test_layouts_are_named(tars: Path) -> None:
    (tars / "0_stats.json").write_text('{"successes": 1}')
    assert describe(open_source(f"{tars}/0.tar")) == "tar shards (img2dataset), 1 file, 1 image"
    for shard in range(3):
        (tars / f"{shard}.tar").rename(tars / f"n0000000{shard}.tar")
    assert describe(open_source(f"{tars}/n*.tar")) == "tar shards (one tar a synset), 3 files, 3 images"


def test_real_photos(test_data: Path) -> None:
    source = open_source(f"{test_data}/photos/imagenette-val-{{000000..000007}}.tar", labels=True)
    assert describe(source) == "tar shards, 8 files, 3,925 images, 10 classes"
    assert source.class_names == tuple("0123456789")
    sample = source.read(len(source) - 1)
    assert min(sample.image.shape[1:]) == 112


def test_real_frames_in_a_folder(test_data: Path) -> None:
    source = open_source(str(test_data / "segmentation/camvid/JPEGImages"))
    assert describe(source) == "folder, 701 images"
    assert source.read(0).image.shape == (3, 240, 320)


def test_copies_have_a_folder_of_their_own(tmp_path: Path) -> None:
    assert remote_settings(PerformanceConfig(cache_dir=str(tmp_path))).folder == tmp_path / "franca-shards"


def test_files_that_no_sample_uses_are_told_of(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars/0.tar", [("a.png", picture()), ("a.npy", b"x"), ("b.txt", b"no image")])
    described = describe(open_source(str(tmp_path / "tars")))
    assert described.endswith("1 image, other files passed over: 2 (.npy 1, .txt without an image 1)")
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "notes.txt").write_text("x")
    described = describe(open_source(str(tmp_path), kind="folder"))
    assert described == "folder, 1 image, other files passed over: 3 (.txt 1, .tar 1, .index 1)"
