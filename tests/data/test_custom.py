"""A user's own images, by the name of what makes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from franca.data.custom import is_custom, open_custom
from franca.data.sample import BadSample
from franca.data.sources import describe, open_source
from franca.errors import DataError

from .tars import picture

MODULE = """
import numpy as np, torch
from PIL import Image
from franca.data.sample import Sample
from tests.data.fake import FakeSource
from tests.data.tars import picture

ITEMS = [
    Image.new("L", (6, 4), 7),
    picture(7),
    np.full((4, 6, 3), 7, np.uint8),
    torch.full((3, 4, 6), 7, dtype=torch.uint8),
    (Image.new("RGB", (6, 4), (7, 7, 7)), 5),
]

class Images:
    def __len__(self): return len(ITEMS)
    def __getitem__(self, index): return ITEMS[index]

class Broken(Images):
    def __getitem__(self, index):
        if index: return b"no picture"
        raise RuntimeError("bad luck")

def source(): return FakeSource(12)
def empty(): return []
def number(): return 3
def fails(): raise OSError("no disk")
def floats(): return [torch.zeros(3, 4, 6)]
def words(): return ["a.png"]
class Outer:
    make = staticmethod(lambda: ITEMS)
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_images.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    sys.modules.pop("own_images", None)


def test_items_of_every_kind() -> None:
    source = open_source("own_images:Images")
    assert describe(source) == "your own source, 5 images"
    for index in range(5):
        assert torch.equal(source.read(index).image, torch.full((3, 4, 6), 7, dtype=torch.uint8)), index
    assert [source.read(index).label for index in range(5)] == [None, None, None, None, 5]
    assert len(open_custom("own_images:Outer.make")) == 5


def test_a_source_is_taken_as_it_is() -> None:
    source = open_source("own_images:source")
    assert (source.location, len(source)) == ("memory", 12)


def test_an_item_that_fails_is_one_bad_sample() -> None:
    source = open_custom("own_images:Broken")
    for index, reason in ((0, "damaged"), (1, "not_an_image")):
        with pytest.raises(BadSample) as caught:
            source.read(index)
        assert (caught.value.key, caught.value.reason) == (str(index), reason)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("own_images:nothing", "AttributeError"),
        ("not_there_at_all:x", "no folder not_there_at_all here, for DIR:split, and no module .*ModuleNotFoundError"),
        ("own_images:fails", "OSError: no disk"),
        ("own_images:number", r"made a int. Expected an object with __len__ and __getitem__"),
        ("own_images:empty", "made an empty list"),
        ("own_images:floats", r"Item 0 of own_images:floats is a Tensor of torch.float32 \[3, 4, 6\]. Expected a PIL"),
        ("own_images:words", "Item 0 of own_images:words is a str"),
    ],
)
def test_what_is_wrong_is_said(location: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(location)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("pkg.module:make", True),
        ("m:Class.make", True),
        ("C:/data", False),
        ("data/x:y", False),
        ("pkg:", False),
        ("folder", False),
    ],
)
def test_what_reads_like_a_name(location: str, expected: bool) -> None:
    assert is_custom(location) is expected


def test_a_file_of_that_name_goes_first() -> None:
    Path("photos:val").mkdir()
    Path("photos:val/a.png").write_bytes(picture())
    assert open_source("photos:val").kind == "folder"
