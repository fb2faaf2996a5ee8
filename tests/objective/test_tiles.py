"""Cuts: what a tile takes is within the chunk, and slices cover everything once."""

from __future__ import annotations

import pytest

from franca.objective.tiles import COLUMN_STEP, DIRECTIONS, MIN_COLUMNS, MIN_ROWS, ROWS, TILES, Cut, runs

MIB = 2**20


def tile_bytes(rows: int, columns: int, width: int) -> int:
    return 4 * (TILES * rows * columns + ROWS * rows * width + DIRECTIONS * columns * width)


@pytest.mark.parametrize("chunk_bytes", [1, MIB, 2 * MIB, 4 * MIB, 64 * MIB, 512 * MIB])
@pytest.mark.parametrize("num_rows", [0, 1, 63, 640, 6144, 200_000])
@pytest.mark.parametrize("num_prototypes", [2, 200, 8192, 131_072])
@pytest.mark.parametrize("width", [1, 48, 256, 384, 2048])
def test_a_tile_with_its_copies_and_factors_fits_into_the_chunk_and_has_enough_rows(
    num_rows: int, num_prototypes: int, width: int, chunk_bytes: int
) -> None:
    cut = Cut.of(num_rows, num_prototypes, width, chunk_bytes=chunk_bytes, itemsize=4)
    least_rows, least_columns = min(num_rows, MIN_ROWS), min(num_prototypes, COLUMN_STEP)
    rows, columns = min(cut.rows, num_rows), min(cut.columns, num_prototypes)
    assert rows >= least_rows and columns >= least_columns and cut.rows >= 1
    assert tile_bytes(rows, columns, width) <= max(chunk_bytes, tile_bytes(least_rows, least_columns, width))
    step = MIN_COLUMNS if columns > MIN_COLUMNS else COLUMN_STEP
    assert columns == num_prototypes or columns % step == 0
    if columns < min(MIN_COLUMNS, num_prototypes):  # only where the least rows leave no room for a wider tile
        assert tile_bytes(least_rows, columns + COLUMN_STEP, width) > chunk_bytes


def test_rows_are_cut_only_where_narrow_tiles_of_all_rows_do_not_fit() -> None:
    wide = Cut.of(6144, 131_072, 256, chunk_bytes=64 * MIB, itemsize=4)
    assert wide.rows >= 6144 and wide.columns == 512
    narrow = Cut.of(200_000, 131_072, 256, chunk_bytes=64 * MIB, itemsize=4)
    assert narrow.rows < 200_000 and narrow.columns == MIN_COLUMNS


def test_small_chunks_take_fewer_columns_rather_than_single_rows() -> None:
    assert Cut.of(6144, 131_072, 384, chunk_bytes=MIB, itemsize=4) == Cut(rows=77, columns=80)
    assert Cut.of(20, 131_072, 384, chunk_bytes=MIB, itemsize=4).columns == 96


def test_a_chunk_that_is_too_small_still_gives_a_tile() -> None:
    assert Cut.of(10, 1000, 256, chunk_bytes=1, itemsize=4) == Cut(rows=10, columns=COLUMN_STEP)
    assert Cut.of(1000, 1000, 256, chunk_bytes=1, itemsize=4) == Cut(rows=MIN_ROWS, columns=COLUMN_STEP)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9])
def test_runs_cover_everything_once(length: int) -> None:
    assert [i for run in runs(length, 4) for i in range(run.start, run.stop)] == list(range(length))
