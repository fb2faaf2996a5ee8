"""Images in a folder tree."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from franca.data.folder import FolderSource, files_below
from franca.data.sample import BadSample
from franca.errors import DataError


def save(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)


def keys(source: FolderSource) -> list[str]:
    return [source.read(index).key for index in range(len(source))]


def test_any_depth_any_name_any_case_in_sorted_order(tmp_path: Path) -> None:
    names = [
        "B.PNG",
        "a b/größe 日本.JPG",
        "a b/x/y/z/1.webp",
        "c.bmp",
        "c/2.gif",
        "c/3.ppm",
        "d.tif",
        "e.jpeg",
    ]
    for name in reversed(names):
        save(tmp_path / name)
    for name in ("notes.txt", ".hidden.png", "c/.thumbnails/1.png", "c/labels.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = FolderSource(tmp_path)
    # A folder comes where its name does: "c" before "c.bmp".
    assert keys(source) == [*names[:3], "c/2.gif", "c/3.ppm", "c.bmp", "d.tif", "e.jpeg"]
    assert (source.group_sizes, source.class_names, source.kind) == ((8,), None, "folder")


def test_first_level_folders_are_classes_when_asked(tmp_path: Path) -> None:
    for index, name in enumerate(["dog/1.png", "cat/deep/2.png", "cat/3.png"]):
        save(tmp_path / name, index)
    source = FolderSource(tmp_path, labels=True)
    assert source.class_names == ("cat", "dog")
    samples = [source.read(index) for index in range(3)]
    assert [(sample.key, sample.label) for sample in samples] == [
        ("cat/3.png", 0),
        ("cat/deep/2.png", 0),
        ("dog/1.png", 1),
    ]
    assert [int(sample.image[0, 0, 0]) for sample in samples] == [2, 1, 0]
    assert FolderSource(tmp_path).read(0).label is None


def test_labels_need_class_folders(tmp_path: Path) -> None:
    save(tmp_path / "dog/1.png")
    save(tmp_path / "stray.png")
    with pytest.raises(DataError, match=r"1 of 2 images lie directly in it \(first: stray.png\)"):
        FolderSource(tmp_path, labels=True)


def test_bad_files_are_named_one_by_one(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    (tmp_path / "2.png").touch()
    save(tmp_path / "3.png")
    source = FolderSource(tmp_path)
    (tmp_path / "3.png").unlink()
    assert source.read(0).image.shape == (3, 4, 6)
    for index, reason in ((1, "empty"), (2, "unreadable")):
        with pytest.raises(BadSample) as caught:
            source.read(index)
        assert (caught.value.key, caught.value.reason) == (f"{index + 1}.png", reason)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere/1.png")
    (tmp_path / "root/inner").mkdir(parents=True)
    (tmp_path / "root/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/inner/circle").symlink_to(tmp_path / "root")
    assert list(files_below(tmp_path / "root")) == ["again/1.png", "linked/1.png"]


def test_folder_without_images_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"No image in .*\.jpeg, \.jpg, \.png.* found 1 other file"):
        FolderSource(tmp_path)


def test_missing_folder_and_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        FolderSource(tmp_path / "none")
    save(tmp_path / "a.png")
    with pytest.raises(DataError, match="is not a folder"):
        FolderSource(tmp_path / "a.png")


def test_pickled_source_reads_the_same(tmp_path: Path) -> None:
    save(tmp_path / "c/1.png", 9)
    source = FolderSource(tmp_path, labels=True)
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.read(0).image, source.read(0).image)
    assert again.class_names == ("c",)


def test_what_is_no_file_is_bad_and_ends_nothing(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")  # a reader would wait for a writer for ever
    (tmp_path / "3.png").symlink_to(tmp_path / "3.png")
    source = FolderSource(tmp_path)
    assert len(source) == 3
    source.read(0)
    for index in (1, 2):
        with pytest.raises(BadSample, match="unreadable"):
            source.read(index)
