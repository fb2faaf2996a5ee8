"""What was found, in words."""

from __future__ import annotations

from dataclasses import replace

from franca.data.findings import Bad, BadSamples, Findings, Repeats

SIZES = {"min": 10, "median": 20, "max": 3000}
CLEAN = Findings(
    location="photos",
    num_shards=1,
    num_samples=2000,
    num_read=1000,
    num_bytes=5_000_000,
    width_px=SIZES,
    height_px=SIZES,
    samples_per_shard=SIZES,
    images_per_class=None,
    bad={},
    damaged_shards=[],
    passed_over={},
    duplicates=Repeats(0, []),
    duplicate_keys=Repeats(0, []),
    workers=2,
    seconds=4.0,
    images_per_second_and_worker=140.0,
)


def test_lines_of_a_clean_source() -> None:
    assert dict(CLEAN.lines()) == {
        "read": "1,000 of 2,000 images, 5.0 MB",
        "width, px": "min 10, median 20, max 3,000",
        "height, px": "min 10, median 20, max 3,000",
        "an image": "5.0 kB",
        "speed": "140 images/s read and decoded by a process, 250 by 2 processes",
        "equal images": "none",
        "equal keys": "none",
        "other files": "none",
        "bad": "none",
    }


def test_lines_of_what_is_wrong() -> None:
    found = replace(
        CLEAN,
        bad={"truncated": Bad(10, ["a", "b"]), "empty": Bad(2, ["c", "d"])},
        damaged_shards=["x.tar: cut off in a file"],
        duplicates=Repeats(3, [["a", "e"], ["f", "g", "h"]]),
        passed_over={".npy": 1200, "hidden": 1},
        images_per_class={"cat": 3, "dog": 997},
    )
    lines = list(found.lines())
    assert ("bad", "12 (1.20%)") in lines
    assert ("", "10 truncated: a, b, …") in lines and ("", "2 empty: c, d") in lines
    assert ("damaged shard", "x.tar: cut off in a file") in lines
    assert ("equal images", "3 repeat another: a = e; f = g = h") in lines
    assert ("other files", "passed over: 1,201 (.npy 1,200, hidden 1)") in lines
    assert ("images a class", "2 classes, 3 (cat) to 997 (dog) images") in lines


def test_what_counts_as_wrong() -> None:
    assert CLEAN.is_clean and replace(CLEAN, duplicates=Repeats(1, [["a", "b"]])).is_clean
    assert replace(CLEAN, passed_over={".txt": 1}).is_clean
    assert not replace(CLEAN, duplicate_keys=Repeats(1, [["a", "a"]])).is_clean
    assert not replace(CLEAN, damaged_shards=["x"]).is_clean
    assert not replace(CLEAN, bad={"empty": Bad(1, ["a"])}).is_clean
    assert CLEAN.to_dict()["is_clean"] is True and CLEAN.to_dict()["images_per_second"] == 250


def test_bad_samples_keep_the_first_examples_and_the_most_frequent_reason_first() -> None:
    bad = BadSamples()
    bad.add("z", "empty")
    for index in range(9):
        bad.add(str(index), "truncated")
    assert bad.by_reason() == {"truncated": Bad(9, ["0", "1", "2", "3", "4"]), "empty": Bad(1, ["z"])}
    assert list(bad.by_reason()) == ["truncated", "empty"]
