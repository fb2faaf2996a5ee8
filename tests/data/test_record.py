"""What a run's data were when it began."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.config.schema import DataConfig, PerformanceConfig, SyntheticConfig
from franca.data.record import differences, read_record, record_of, write_record
from franca.data.sources import open_training_source
from franca.errors import DataError

from .tars import picture, write_tar


def data_of(root: Path) -> DataConfig:
    """A folder of two images, and two tars of one and two."""
    (root / "photos").mkdir(exist_ok=True)
    for name in "ab":
        (root / f"photos/{name}.png").write_bytes(picture())
    for number in (1, 2):
        write_tar(root / f"{number}.tar", [(f"{i}.png", picture(i)) for i in range(number)])
    train = [str(root / "photos"), f"{root}/{{1..2}}.tar", "synthetic"]
    return DataConfig(train=train, weights=[1, 1, 1], synthetic=SyntheticConfig(num_images=5, size_px=16))


def test_it_comes_back_and_nothing_has_changed(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    source = open_training_source(data, PerformanceConfig())
    write_record(tmp_path / "run/data.json", source)
    record = read_record(tmp_path / "run/data.json")
    assert record is not None
    again = open_training_source(data, PerformanceConfig(), record=record)
    assert record_of(again) == record_of(source)
    assert not differences(record, again)
    assert [again.read(index).key for index in range(6)] == [
        "a.png", "b.png", "1.tar/0", "2.tar/0", "2.tar/1", "train/00000000",
    ]  # fmt: skip


def test_shards_stay_as_they_were_and_other_changes_are_said(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    write_record(tmp_path / "data.json", open_training_source(data, PerformanceConfig()))
    record = read_record(tmp_path / "data.json")
    assert record is not None
    write_tar(tmp_path / "2.tar", [(f"{i}.png", picture(i)) for i in range(7)])
    (tmp_path / "1.tar").unlink()
    (tmp_path / "photos/b.png").rename(tmp_path / "photos/c.png")
    again = open_training_source(data, PerformanceConfig(), record=record)
    assert again.group_sizes == (2, 1, 2, 5)
    (said,) = differences(record, again)
    assert said.startswith(f"{tmp_path}/photos changed since the run began: 2 images then, 2 now.")


def test_all_shards_are_gone(tmp_path: Path) -> None:
    data = DataConfig(train=f"{data_of(tmp_path).train[1]}")  # type: ignore[index]
    record = record_of(open_training_source(data, PerformanceConfig()))
    for path in tmp_path.glob("*.tar"):
        path.unlink()
    with pytest.raises(DataError, match=r"None of the 2 tars of .* exists any more \(first: .*1\.tar\)"):
        open_training_source(data, PerformanceConfig(), record=record)


def test_the_record_of_other_data_is_not_used(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    record = record_of(open_training_source(data, PerformanceConfig()))
    other = DataConfig(train=f"{tmp_path}/2.tar")
    assert len(open_training_source(other, PerformanceConfig(), record=record)) == 2


def test_none_and_a_broken_one(tmp_path: Path) -> None:
    assert read_record(tmp_path / "data.json") is None
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(DataError, match=r"Cannot read .*data\.json, which says what data the run began with"):
        read_record(tmp_path / "data.json")
