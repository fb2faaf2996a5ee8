"""What a check finds in sources whose faults are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from franca.config.schema import SyntheticConfig
from franca.data.check import check_source, repeated_rows
from franca.data.sources import open_source

from .fake import FakeSource
from .tars import picture, write_tar


def shards(root: Path) -> Path:
    """Two tars with 7 images: one unreadable, one twice by content, one key twice."""
    write_tar(root / "0.tar", [("a.png", picture(1)), ("b.png", picture(2)), ("c.png", b"text"), ("d.png", b"")])
    write_tar(root / "1.tar", [("a.png", picture(1)), ("x.png", picture(4)), ("x.png", picture(5))])
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_every_fault_is_counted_and_named(tmp_path: Path, workers: int) -> None:
    found = check_source(open_source(str(shards(tmp_path))), workers=workers)
    assert (found.num_shards, found.num_samples, found.num_read, found.num_bad) == (2, 7, 7, 2)
    assert {reason: (bad.count, *bad.examples) for reason, bad in found.bad.items()} == {
        "not_an_image": (1, "0.tar/c"),
        "empty": (1, "0.tar/d"),
    }
    assert (found.duplicates.count, found.duplicates.examples) == (1, [["0.tar/a", "1.tar/a"]])
    assert (found.duplicate_keys.count, found.duplicate_keys.examples) == (1, [["1.tar/x", "1.tar/x"]])
    assert found.width_px["min"] == found.width_px["max"] == 6 and found.height_px["median"] == 4
    assert found.samples_per_shard["min"] == 3 and found.samples_per_shard["max"] == 4
    assert found.num_bytes == sum(len(picture(value)) for value in (1, 2, 1, 4, 5))
    assert not found.is_clean and not found.damaged_shards
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_clean_source_is_clean_although_images_are_equal(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [(f"{index}.png", picture(1)) for index in range(9)])
    found = check_source(open_source(str(tmp_path)))
    assert found.is_clean and found.duplicates.count == 8
    assert [len(group) for group in found.duplicates.examples] == [5]


def test_a_cut_tar_is_damaged(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [(f"{index}.png", picture(index)) for index in range(4)])
    write_tar(tmp_path / "1.tar", [("a.png", picture())])
    path.write_bytes(path.read_bytes()[:2500])
    found = check_source(open_source(str(tmp_path)))
    assert not found.is_clean and len(found.damaged_shards) == 1
    assert found.damaged_shards[0].startswith(f"{path}: cut off")


def test_a_tar_with_other_counts_than_stated_is_damaged_even_if_all_stated_images_are_fine(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [(f"{index}.png", picture(index)) for index in range(4)])
    (tmp_path / "0_stats.json").write_text(json.dumps({"successes": 3}))
    found = check_source(open_source(str(tmp_path)))
    assert found.num_bad == 0 and found.damaged_shards == [f"{tmp_path}/0.tar: holds 4 images, but 3 were counted"]


def test_classes_are_counted(tmp_path: Path) -> None:
    for name, count in (("cat", 3), ("dog", 1)):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index}.png").write_bytes(picture(index))
    assert check_source(open_source(str(tmp_path), labels=True)).images_per_class == {"cat": 3, "dog": 1}
    assert check_source(open_source(str(tmp_path))).images_per_class is None


def test_drawn_images_have_pixels_in_place_of_files() -> None:
    source = open_source("synthetic", synthetic=SyntheticConfig(num_images=12, size_px=16))
    found = check_source(source)
    assert found.is_clean and found.num_bytes == 12 * 3 * 16 * 16 and found.duplicates.count == 0


def test_a_sample_is_the_same_each_time_and_spreads_over_the_source() -> None:
    source = FakeSource(1000, bad=range(0, 1000, 2))
    first, again = (check_source(source, sample=100) for _ in range(2))
    assert first.num_read == 100 and first.bad == again.bad
    assert 30 < first.num_bad < 70
    assert check_source(source, sample=2000).num_read == 1000


def test_nothing_can_be_read() -> None:
    found = check_source(FakeSource(3, bad=range(3)))
    assert found.num_bad == 3 and found.width_px == {} and found.duplicates.count == 0
    assert dict(found.lines())["bad"] == "3 (100.00%)"


def test_repeated_rows_against_a_dictionary() -> None:
    rows = np.random.default_rng(0).integers(0, 5, (60, 2)).astype(np.uint64)
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows.tolist()):
        groups.setdefault(tuple(row), []).append(number)
    count, found = repeated_rows(rows)
    assert count == 60 - len(groups)
    assert [group.tolist() for group in found] == [group for group in groups.values() if len(group) > 1][:5]
    assert repeated_rows(np.zeros((0, 2), np.uint64)) == (0, [])


def test_real_layouts_are_clean(test_data: Path) -> None:
    found = check_source(open_source(str(test_data / "imagenet21k_layout"), labels=True))
    assert found.is_clean and found.num_read == 280
    assert found.images_per_class is not None and len(found.images_per_class) == 50
    assert (found.width_px["max"], found.height_px["max"]) == (2400, 1600)
    found = check_source(open_source(str(test_data / "laion_layout")))
    assert found.is_clean and (found.num_shards, found.num_read) == (2, 101)
