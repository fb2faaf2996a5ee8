"""Packed shards hold the same images and labels as what they were made of."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import cast

import pytest
import torch
from PIL import Image
from webdataset import WebDataset

from franca.config.schema import SyntheticConfig
from franca.data import pack as module
from franca.data.decode import EXTENSIONS, FORMATS
from franca.data.pack import Recoding, pack
from franca.data.plan import SamplePlan
from franca.data.sample import EncodedSource, Source
from franca.data.sources import open_source
from franca.errors import DataError

from .fake import FakeSource
from .tars import picture, write_tar

CLASSES = ("10", "9", "cat", "Käse")


def encoded(size: tuple[int, int], file_format: str = "JPEG", colour: int = 80) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 40, 200)).save(buffer, file_format)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four classes of ten images, with dots, spaces and one name in two formats; two cannot be read."""
    root = tmp_path / "photos"
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for index in range(10):
            (root / name / f"im ü.{index}.png").write_bytes(picture(number * 10 + index))
    (root / "cat" / "im ü.3.jpg").write_bytes(encoded((6, 4)))
    (root / "cat" / "cut.jpg").write_bytes(encoded((60, 40))[:-200])
    (root / "9" / "zero.png").touch()
    return root


def contents(source: Source) -> dict[str, tuple[bytes, str]]:
    """Bytes and class of each readable image, by the key it had before it was packed."""
    assert isinstance(source, EncodedSource) and source.class_names is not None
    files = [source.read_encoded(index) for index in range(len(source))]
    return {
        (file.json or {"packed_from": file.key})["packed_from"]: (file.data, source.class_names[cast(int, file.label)])
        for file in files
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_open_with_the_same_bytes_and_labels(folder: Path, tmp_path: Path, workers: int) -> None:
    source = open_source(str(folder), labels=True)
    packed = pack(source, tmp_path / "out", max_images=15, workers=workers)
    assert (packed.num_shards, packed.num_images) == (3, 41)
    assert {reason: (bad.count, *bad.examples) for reason, bad in packed.bad.items()} == {
        "truncated": (1, "cat/cut.jpg"),
        "empty": (1, "9/zero.png"),
    }
    again = open_source(str(tmp_path / "out"), labels=True, extras=["json"])
    expected = contents(source)
    del expected["cat/cut.jpg"], expected["9/zero.png"]
    assert contents(again) == expected
    assert again.class_names == source.class_names and len(again) == 41


def test_the_order_is_that_of_a_pass_and_repeats(folder: Path, tmp_path: Path) -> None:
    source = open_source(str(folder), labels=True)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pack(source, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "000000.tar").read_bytes() for name in "abc")
    assert a == b != c
    order = SamplePlan(source.group_sizes, seed=0).samples(range(len(source))).tolist()
    assert isinstance(source, EncodedSource)
    kept = [source.read_encoded(index).key for index in order]
    kept = [key for key in kept if key not in ("cat/cut.jpg", "9/zero.png")]
    packed = open_source(str(tmp_path / "a"), extras=["json"])
    assert [packed.read(index).json["packed_from"] for index in range(len(packed))] == kept


def test_webdataset_reads_them(folder: Path, tmp_path: Path) -> None:
    packed = pack(open_source(str(folder), labels=True), tmp_path / "out")
    samples = list(WebDataset(str(tmp_path / "out" / "000000.tar"), shardshuffle=False).decode("pil"))
    assert len(samples) == packed.num_images and len({sample["__key__"] for sample in samples}) == 41
    names = (tmp_path / "out" / "classes.txt").read_text(encoding="utf-8").splitlines()
    for sample in samples:
        assert names[sample["cls"]] == sample["json"]["class_name"] == sample["json"]["packed_from"].split("/")[0]


def test_without_labels(folder: Path, tmp_path: Path) -> None:
    pack(open_source(str(folder)), tmp_path / "out")
    assert not (tmp_path / "out" / "classes.txt").exists()
    with pytest.raises(DataError, match="No labels"):
        open_source(str(tmp_path / "out"), labels=True)


def test_only_larger_images_are_resized(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "wide.png").write_bytes(encoded((300, 100), "PNG"))
    (root / "high.webp").write_bytes(encoded((64, 90), "WEBP"))
    (root / "small.jpg").write_bytes(encoded((500, 50)))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (200, 120), "red").save(root / "turned.jpg", exif=turned)
    pack(open_source(str(root)), tmp_path / "out", recoding=Recoding(resize_px=50, quality=80))
    packed = open_source(str(tmp_path / "out"), extras=["json"])
    assert isinstance(packed, EncodedSource)
    found = {(file := packed.read_encoded(index)).json["packed_from"]: file.data for index in range(4)}
    sizes = {key: (*(image := Image.open(io.BytesIO(data))).size, image.format) for key, data in found.items()}
    assert sizes == {
        "wide.png": (150, 50, "JPEG"),
        "high.webp": (50, 70, "JPEG"),
        "small.jpg": (500, 50, "JPEG"),
        "turned.jpg": (50, 83, "JPEG"),
    }
    assert found["small.jpg"] == (root / "small.jpg").read_bytes()


def test_names_that_lie_and_gzip_under_an_image_name(tmp_path: Path) -> None:
    jpeg = encoded((8, 8))
    members = [("a.png", jpeg), ("b.JPEG", gzip.compress(jpeg)), ("c.jpg", encoded((8, 8), "MPO"))]
    source = open_source(str(write_tar(tmp_path / "0.tar", members)))
    pack(source, tmp_path / "out")
    endings = {
        sample["__key__"]: sorted(set(sample) - {"__key__", "__url__", "__local_path__", "json"})
        for sample in WebDataset(str(tmp_path / "out" / "000000.tar"), shardshuffle=False)
    }
    assert sorted(ending for (ending,) in endings.values()) == ["jpg", "jpg", "jpg"]
    again = open_source(str(tmp_path / "out"), extras=["json"])
    by_key = {(sample := again.read(index)).json["packed_from"]: sample.image for index in range(3)}
    for index in range(3):
        sample = source.read(index)
        assert torch.equal(by_key[sample.key], sample.image)


def test_every_format_that_is_read_has_an_ending_in_a_shard() -> None:
    assert set(module._ENDINGS) == {*FORMATS, "MPO"}
    assert {f".{ending}" for ending in module._ENDINGS.values()} <= set(EXTENSIONS)


def test_captions_and_json_ride_along(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "in" / "0.tar",
        [
            ("a.jpg", encoded((8, 8))),
            ("a.json", json.dumps({"url": "http://a", "key": "a"}).encode()),
            ("a.txt", "ein Bär".encode()),
            ("b.jpg", encoded((8, 8))),
            ("b.json", b"[1, 2]"),
        ],
    )
    pack(open_source(str(tmp_path / "in"), extras=["caption", "json"]), tmp_path / "out")
    again = open_source(str(tmp_path / "out"), extras=["caption", "json"])
    found = {(sample := again.read(index)).json["packed_from"]: sample for index in range(2)}
    assert found["0.tar/a"].caption == "ein Bär" and found["0.tar/b"].caption is None
    assert found["0.tar/a"].json == {"url": "http://a", "key": "a", "packed_from": "0.tar/a"}
    assert found["0.tar/b"].json == {"json": [1, 2], "packed_from": "0.tar/b"}


def test_drawn_images_are_kept_without_loss(tmp_path: Path) -> None:
    source = open_source("synthetic", synthetic=SyntheticConfig(num_images=20, size_px=16))
    pack(source, tmp_path / "out")
    packed = open_source(str(tmp_path / "out"), labels=True, extras=["json"])
    assert packed.class_names == source.class_names
    originals = {(sample := source.read(index)).key: sample for index in range(20)}
    for index in range(20):
        sample = packed.read(index)
        assert torch.equal(sample.image, originals[sample.json["packed_from"]].image)
        assert sample.label == originals[sample.json["packed_from"]].label


def test_nothing_readable_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing was packed \(truncated: 0, 1, 2\)|nothing was packed"):
        pack(FakeSource(3, bad=range(3)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_real_synsets(test_data: Path, tmp_path: Path) -> None:
    """280 images in 50 tars of a class each, one of them gzipped under its image name."""
    source = open_source(str(test_data / "imagenet21k_layout"), labels=True)
    packed = pack(source, tmp_path / "out", max_bytes=2_000_000)
    assert packed.num_images == 280 and packed.num_shards == 4 and not packed.bad
    again = open_source(str(tmp_path / "out"), labels=True, extras=["json"])
    assert again.class_names == source.class_names
    before, after = contents(source), contents(again)
    changed = [key for key in before if before[key] != after[key]]
    assert changed == ["n03888257.tar/n03888257_79004"]
    assert after[changed[0]] == (gzip.decompress(before[changed[0]][0]), "n03888257")
