"""Recognising what the user points to."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.config.schema import SyntheticConfig
from franca.data.sources import describe, open_source
from franca.errors import DataError

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
        ("s3://bucket/{0..9}.tar", "auto", "is an address"),
        ("pipe:cat x", "auto", "is an address"),
        ("empty", "zip", "Unknown kind of data 'zip'. Expected one of: auto, folder, tar, synthetic"),
        (["empty", "empty"], "folder", "Expected one folder, got 2"),
        ("empty", "tar", "No tar in empty"),
    ],
)
def test_wrong_input(
    location: str | list[str], kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("note.txt").write_text("no tar")
    with pytest.raises(DataError, match=message):
        open_source(location, kind=kind)


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
