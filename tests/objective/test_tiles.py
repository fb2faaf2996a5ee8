"""Cuts: what a tile takes is within the chunk, and slices cover everything once."""

from __future__ import annotations

import pytest

from franca.objective.tiles import DIRECTIONS, MIN_COLUMNS, ROWS, TILES, Cut, runs

MIB = 2**20


@pytest.mark.parametrize("chunk_bytes", [4 * MIB, 64 * MIB, 512 * MIB])
@pytest.mark.parametrize("num_rows", [0, 1, 640, 6144, 200_000])
@pytest.mark.parametrize("num_prototypes", [2, 8192, 131_072])
def test_a_tile_with_its_copies_and_factors_fits_into_the_chunk(
    num_rows: int, num_prototypes: int, chunk_bytes: int
) -> None:
    width = 256
    cut = Cut.of(num_rows, num_prototypes, width, chunk_bytes=chunk_bytes, itemsize=4)
    rows, columns = min(cut.rows, num_rows), min(cut.columns, num_prototypes)
    numbers = TILES * rows * columns + ROWS * rows * width + DIRECTIONS * columns * width
    assert 4 * numbers <= chunk_bytes
    assert columns == num_prototypes or columns % MIN_COLUMNS == 0


def test_rows_are_cut_only_where_narrow_tiles_of_all_rows_do_not_fit() -> None:
    wide = Cut.of(6144, 131_072, 256, chunk_bytes=64 * MIB, itemsize=4)
    assert wide.rows >= 6144 and wide.columns == 512
    narrow = Cut.of(200_000, 131_072, 256, chunk_bytes=64 * MIB, itemsize=4)
    assert narrow.rows < 200_000 and narrow.columns == MIN_COLUMNS


def test_a_chunk_that_is_too_small_still_gives_a_tile() -> None:
    assert Cut.of(10, 1000, 256, chunk_bytes=1, itemsize=4) == Cut(rows=1, columns=MIN_COLUMNS)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9])
def test_runs_cover_everything_once(length: int) -> None:
    assert [i for run in runs(length, 4) for i in range(run.start, run.stop)] == list(range(length))
