"""How a matrix of logits is cut, so that a tile with all that comes with it fits into a chunk of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MIN_COLUMNS = 256  # narrower tiles waste the matrix units, so rows are cut first,
MIN_ROWS = 64  # but not below this: tiles of few rows spend their time on directions
COLUMN_STEP = 16  # what narrower tiles are a multiple of
# Live at once, in numbers of the dtype of sums:
TILES = 3  # r x c: logits, their exponentials, and these in the dtype of products
ROWS = 2  # r x b: rows in the dtype of products, and what is added to their sums
DIRECTIONS = 6  # c x b: the student's, the teacher's, both in the dtype of products, and their gradients


@dataclass(frozen=True)
class Cut:
    """How [R, K] is cut into tiles."""

    rows: int
    columns: int

    @classmethod
    def of(cls, num_rows: int, num_columns: int, width: int, *, chunk_bytes: int, itemsize: int) -> Cut:
        """The widest tiles of all rows that fit; where not even narrow ones do, rows are cut as well.

        Where ``MIN_ROWS`` rows, or all if there are fewer, do not fit beside ``MIN_COLUMNS`` columns, they get fewer.
        No tile is smaller than ``MIN_ROWS`` by ``COLUMN_STEP``, even where that takes more than the chunk.

        Args:
            num_rows: R.
            num_columns: K.
            width: b of rows and directions.
            chunk_bytes: What a tile may take with its copies, rows and directions.
            itemsize: Bytes of a number in the dtype of sums.
        """
        numbers = chunk_bytes // itemsize

        def columns_beside(rows: int, step: int) -> int:
            most = (numbers - ROWS * rows * width) // (TILES * rows + DIRECTIONS * width)
            return max(most, 0) // step * step

        least_rows = min(num_rows, MIN_ROWS)
        narrow = min(max(columns_beside(least_rows, COLUMN_STEP), COLUMN_STEP), MIN_COLUMNS)
        columns = min(max(columns_beside(num_rows, MIN_COLUMNS), narrow), num_columns)
        rows = (numbers - DIRECTIONS * columns * width) // (TILES * columns + ROWS * width)
        return cls(max(rows, least_rows, 1), columns)


def runs(length: int, step: int) -> Iterator[slice]:
    """Consecutive slices of ``step`` that cover ``length``; the last may be shorter."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
