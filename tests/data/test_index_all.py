"""Indexes made ahead of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from franca.data.index_all import index_all, look_over_shards
from franca.data.sources import open_source
from franca.data.tar_index import cached_summary

from .fake import FakeSource
from .tars import picture, write_tar


@pytest.mark.parametrize("workers", [0, 2])
def test_indexes_are_made_once(tmp_path: Path, workers: int) -> None:
    paths = [write_tar(tmp_path / f"{n}.tar", [(f"{i}.png", picture()) for i in range(n + 1)]) for n in range(5)]
    assert [cached_summary(path) for path in paths] == [None] * 5
    done: list[int] = []
    found = index_all(paths, workers=workers, progress=lambda number, _: done.append(number))
    assert [shard.num_samples for shard in found] == [1, 2, 3, 4, 5]
    assert [cached_summary(path) for path in paths] == [(number, {}) for number in (1, 2, 3, 4, 5)]
    assert [shard.path for shard in found] == paths and done == [1, 2, 3, 4, 5]
    assert all(shard.index and shard.index.exists() and not shard.problem for shard in found)
    assert [shard.num_bytes for shard in found] == [path.stat().st_size for path in paths]
    assert not any(shard.was_kept for shard in found)
    write_tar(paths[1], [("new.png", picture())])
    assert [shard.was_kept for shard in index_all(paths, workers=workers)] == [True, False, True, True, True]


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    cut = write_tar(tmp_path / "cut.tar", [("a.png", picture()), ("b.png", picture())])
    cut.write_bytes(cut.read_bytes()[:1600])
    found = index_all([tmp_path / "none.tar", cut, write_tar(tmp_path / "good.tar", [("a.png", picture())])])
    assert "Cannot open" in str(found[0].problem) and found[0].num_samples == 0
    assert "cut off" in str(found[1].problem) and found[1].num_samples == 1
    assert found[2].problem is None


def test_only_the_shards_asked_for_are_looked_at(tmp_path: Path) -> None:
    for name in ("0", "1"):
        path = write_tar(tmp_path / f"{name}.tar", [("a.png", picture()), ("b.png", picture())])
        path.write_bytes(path.read_bytes()[:1600])
    source = open_source(str(tmp_path))
    assert len(look_over_shards(source, np.arange(2))[0]) == 2
    (problem,), _ = look_over_shards(source, np.array([1]))
    assert problem.startswith(f"{tmp_path}/1.tar: cut off")
    assert look_over_shards(FakeSource(3), np.array([0])) == ([], {})


def test_files_that_no_sample_uses_are_counted(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "0.tar", [("a.png", picture()), ("a.npy", b"x"), ("b.npy", b"x"), ("README", b"x")])
    second = write_tar(tmp_path / "1.tar", [("a.png", picture()), ("a.npy", b"x")])
    for _ in range(2):
        counts = [shard.passed_over for shard in index_all([first, second])]
        assert counts == [{".npy": 2, "no ending": 1}, {".npy": 1}]
    (tmp_path / "sizes.json").write_text('{"0.tar": 1, "1.tar": 1}')  # nothing is known at the start
    source = open_source(str(tmp_path))
    assert look_over_shards(source, np.arange(2)) == ([], {".npy": 3, "no ending": 1})
    assert look_over_shards(source, np.array([1])) == ([], {".npy": 1})
