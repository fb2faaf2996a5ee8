"""Features kept on disk: by content, within bounds, and joined from parts that may come from several calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from franca.batch import Skipped
from franca.data.folder import FolderSource
from franca.errors import DataError
from franca.features import extract as extraction
from franca.features.cache import FeatureCache
from franca.features.extract import compute, extract
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.parts import Parts, key_of, read_features
from franca.features.settings import FeatureSettings
from franca.features.table import CLASS_EMBEDDING, Wanted


class Mean(nn.Module):
    """Mean colour times a factor; counts the images it sees."""

    def __init__(self, factor: float = 1.0, power: int = 1) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.power = power
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return (images.mean((2, 3)) * self.factor) ** self.power


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRANCA_CACHE", str(tmp_path / "cache"))
    for index in range(70):
        path = tmp_path / "images" / "ab"[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (index, 2 * index, 255 - index)).save(path)
    return tmp_path / "images"


def job(model: Mean, folder: Path, wanted: Wanted = CLASS_EMBEDDING, labels: bool = True, **settings: object) -> Job:
    told = FeatureSettings(**{"image_size_px": 8, "workers": 0, "batch_size": 32, **settings})  # type: ignore[arg-type]
    return Job(FeatureModel(model), FolderSource(folder, labels=labels), wanted, told, torch.device("cpu"))


def entries(cache: Path) -> list[str]:
    return sorted(os.listdir(cache / "features"))


def test_the_same_features_are_not_computed_again(folder: Path) -> None:
    first, again = Mean(), Mean()
    expected = extract(job(first, folder))
    assert first.seen == 70 + 1  # one image of noise tells which code it is
    table = extract(job(again, folder))
    assert again.seen == 1
    assert torch.equal(table.cls, expected.cls) and table.keys == expected.keys
    assert table.labels is not None and table.labels.tolist() == [0] * 35 + [1] * 35
    assert len(entries(folder.parent / "cache")) == 1


def test_whatever_changes_features_changes_the_key(folder: Path) -> None:
    base = job(Mean(), folder).key()
    assert job(Mean(), folder, batch_size=3, workers=1).key() == base
    others = [
        job(Mean(2.0), folder).key(),
        job(Mean(power=2), folder).key(),  # the same weights in other code
        job(Mean(), folder, Wanted(patch_mean=True)).key(),
        job(Mean(), folder, image_size_px=16).key(),
        job(Mean(), folder, fit="stretch").key(),
        job(Mean(), folder, precision="fp16").key(),
        job(Mean(), folder, labels=False).key(),
    ]
    Image.new("RGB", (9, 9)).save(folder / "a" / "00.png")
    others.append(job(Mean(), folder).key())

    assert len({base, *others}) == 9


def test_a_source_that_cannot_tell_is_not_kept(folder: Path) -> None:
    class Untold:
        kind, location, class_names, group_sizes = "custom", "mine", None, (70,)

        def __init__(self) -> None:
            self.inner = FolderSource(folder)
            self.read = self.inner.read

        def __len__(self) -> int:
            return 70

    model = Mean()
    for _ in range(2):
        one = job(model, folder)
        assert len(extract(Job(one.model, Untold(), one.wanted, one.settings, one.device))) == 70  # type: ignore[arg-type]
    assert model.seen >= 140
    assert not (folder.parent / "cache" / "features").exists()


def test_cache_false_keeps_nothing(folder: Path) -> None:
    assert len(extract(job(Mean(), folder, cache=False))) == 70
    assert not (folder.parent / "cache").exists()


def test_what_was_stopped_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = extract(job(Mean(), folder, cache=False))
    write = Parts.write
    written: list[int] = []

    def fail_at_the_second(self: Parts, part: int, *rest: object) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(part)
        write(self, part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Parts, "write", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        compute(job(Mean(), folder), tmp_path / "parts", whole=tmp_path / "out.safetensors")
    monkeypatch.setattr(Parts, "write", write)
    model = Mean()
    whole = compute(job(model, folder), tmp_path / "parts", whole=tmp_path / "out.safetensors")
    assert model.seen == 70 - 32 + 1
    assert torch.equal(read_features(whole).cls, expected.cls)
    assert os.listdir(tmp_path / "parts") == []
    assert key_of(whole) == job(Mean(), folder).loose_key()
    assert compute(job(Mean(), folder), tmp_path / "parts", whole=whole) == whole


def test_a_full_disk_is_one_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Parts, "write", full)
    with pytest.raises(DataError, match=r"No space left on device.*FRANCA_CACHE"):
        extract(job(Mean(), folder))


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=250)
    for age, key in enumerate(["a" * 32, "b" * 32, "c" * 32]):
        (cache.folder(key) / extraction.WHOLE).write_bytes(b"x" * 100)
        os.utime(tmp_path / key, (0, 100 - age))
    (tmp_path / "notes.txt").write_text("of the user")
    cache.trim(keep="c" * 32)  # the oldest, but in use
    assert sorted(os.listdir(tmp_path)) == ["a" * 32, "c" * 32, "notes.txt"]


def test_what_others_are_at_work_on_stays(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=0)
    (cache.folder("a" * 32) / "part_000000.safetensors").write_bytes(b"x")
    cache.folder("b" * 32)
    cache.trim(keep="b" * 32)
    assert (tmp_path / ("a" * 32)).exists()


@pytest.mark.parametrize(("num_images", "image_bytes"), [(1, 10), (70, 10), (10_000, 10), (100, 50 << 20)])
def test_parts_cover_every_image_once(tmp_path: Path, num_images: int, image_bytes: int) -> None:
    parts = Parts.of(tmp_path, num_images, image_bytes)
    assert [index for part in parts.numbers() for index in parts.images(part)] == list(range(num_images))
    assert parts.images_per_part * image_bytes <= max(64 << 20, image_bytes)
    assert parts.missing() == list(parts.numbers())


def test_parts_without_readable_images(tmp_path: Path) -> None:
    parts = Parts(tmp_path, 3, 1)
    parts.write(0, {}, [], [Skipped("0", "empty")])
    parts.write(1, {"cls": torch.ones(1, 2)}, ["1"], [])
    parts.write(2, {}, [], [Skipped("2", "empty")])
    told = {"source": "here", "class_names": None, "mask_names": None}
    parts.join(tmp_path / "whole", told)
    table = read_features(tmp_path / "whole")
    assert (table.cls.tolist(), table.keys, len(table.skipped)) == ([[[1.0, 1.0]]], ("1",), 2)


def test_two_processes_at_the_same_work(folder: Path, tmp_path: Path) -> None:
    """The one that comes last finds its parts gone, and the file there."""
    about = job(Mean(), folder)
    work = tmp_path / "work"
    inner = job(Mean(), folder)
    finished: list[bytes] = []

    def overtake(done: int, total: int) -> None:
        if not finished:  # the other process does all of it while this one is at its first part
            finished.append(compute(inner, work).read_bytes())

    whole = compute(about, work, overtake)
    assert whole.read_bytes() == finished[0]
    assert [path.name for path in work.iterdir()] == [whole.name]


def test_a_cache_that_cannot_be_made_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FRANCA_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"features cannot be kept in .*file/features.* Point FRANCA_CACHE"):
        extract(job(Mean(), folder))
