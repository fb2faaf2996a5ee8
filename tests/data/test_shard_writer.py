"""Shards of bounded size that appear when they are complete."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from franca.data.sample import BadSample
from franca.data.shard_writer import BoundedShards, Packed, appears_when_complete
from franca.errors import ConfigError


def written(folder: Path, sizes: list[int], *, max_bytes: int = 1 << 30, max_images: int = 1000) -> Packed:
    with BoundedShards(folder, max_bytes=max_bytes, max_images=max_images) as shards:
        for number, size in enumerate(sizes):
            shards.add(f"{number:09d}", {"jpg": bytes(size), "cls": b"1"})
    return shards.packed


def keys(folder: Path) -> list[list[str]]:
    """Names in each tar."""
    return [tarfile.open(path).getnames() for path in sorted(folder.glob("*.tar"))]


def test_shards_end_before_they_grow_too_large(tmp_path: Path) -> None:
    sizes = [3000, 9000, 1, 20_000, 512, 513, 8000, 8000, 8000]
    packed = written(tmp_path, sizes, max_bytes=30_720)
    found = keys(tmp_path)
    assert [name for names in found for name in names if name.endswith("jpg")] == [f"{n:09d}.jpg" for n in range(9)]
    on_disk = [path.stat().st_size for path in sorted(tmp_path.glob("*.tar"))]
    assert max(on_disk) <= 30_720 and packed == Packed(len(found), 9, sum(on_disk), {})
    assert len(found) == 3


def test_a_sample_larger_than_a_shard_has_one_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, [10, 50_000, 10], max_bytes=20_480)
    assert [len(names) for names in keys(tmp_path)] == [2, 2, 2]


def test_shards_end_at_a_number_of_images(tmp_path: Path) -> None:
    written(tmp_path, [1] * 6, max_images=3)
    assert [len(names) for names in keys(tmp_path)] == [6, 6]


def test_counts_lie_beside_each_shard(tmp_path: Path) -> None:
    with BoundedShards(tmp_path, max_bytes=1 << 30, max_images=2) as shards:
        for number in range(3):
            shards.add(str(number), BadSample(f"x{number}", "truncated"))
            shards.add(f"{number:09d}", {"jpg": b"1"})
        shards.add("3", BadSample("x3", "empty"))
    packed = shards.packed
    stats = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*_stats.json"))]
    assert [(item["count"], item["successes"]) for item in stats] == [(5, 2), (2, 1)]
    assert stats[1]["status_dict"] == {"success": 1, "empty": 1}
    assert {reason: bad.count for reason, bad in packed.bad.items()} == {"truncated": 3, "empty": 1}


def test_a_folder_with_a_percent_sign(tmp_path: Path) -> None:
    folder = tmp_path / "100%d"
    folder.mkdir()
    written(folder, [1])
    assert (folder / "000000.tar").exists()


def test_the_folder_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with appears_when_complete(out) as folder:
        (folder / "a").write_text("1")
        assert not out.exists() and folder.parent == out.parent and folder.name.startswith(".")
        with pytest.raises(ConfigError, match="Another process"), appears_when_complete(out):
            pass
        assert (folder / "a").exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_empty_folder_is_taken_and_any_other_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with appears_when_complete(out) as folder:
        (folder / "a").touch()
    with pytest.raises(ConfigError, match="not an empty folder"), appears_when_complete(out):
        pass
    with pytest.raises(ConfigError, match="not an empty folder"), appears_when_complete(out / "a"):
        pass


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def written_halfway() -> None:
        with appears_when_complete(tmp_path / "out") as folder:
            (folder / "000000.tar").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written_halfway()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_hidden_and_goes_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = (
        "import pathlib, sys, time\n"
        "from franca.data.shard_writer import appears_when_complete\n"
        "with appears_when_complete(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch()\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(out)])
    half = tmp_path / ".out.unfinished" / "half"
    deadline = time.monotonic() + 30
    while not half.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert half.exists() and not out.exists()
    with appears_when_complete(out):
        assert not half.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and list(out.iterdir()) == []
