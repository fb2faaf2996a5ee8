"""How a matrix of logits is cut, so that a tile with all that comes with it fits into a chunk of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MIN_COLUMNS = 256  # narrower tiles waste the matrix units
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

        Args:
            num_rows: R.
            num_columns: K.
            width: b of rows and directions.
            chunk_bytes: What a tile may take with its copies, rows and directions.
            itemsize: Bytes of a number in the dtype of sums.
        """
        numbers = chunk_bytes // itemsize
        columns = (numbers - ROWS * num_rows * width) // (TILES * num_rows + DIRECTIONS * width)
        columns = min(max(columns // MIN_COLUMNS * MIN_COLUMNS, MIN_COLUMNS), num_columns)
        rows = (numbers - DIRECTIONS * columns * width) // (TILES * columns + ROWS * width)
        return cls(max(rows, 1), columns)


def runs(length: int, step: int) -> Iterator[slice]:
    """Consecutive slices of ``step`` that cover ``length``; the last may be shorter."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
