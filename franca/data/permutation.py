"""Permutations of a range of any length that need no memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from franca.data.randomness import Ints, Keys, derive_key, mix

_ROUNDS = 8  # with fewer, some permutations of five to seven elements come up more often than others


class Permutation:
    """A keyed bijection on ``range(size)``, evaluated only where it is asked for.

    The range is laid out as a nearly square grid. Each round turns every row by an amount that depends on the row,
    and every column by an amount that depends on the column: a Feistel network, one to one whatever the amounts.
    The few cells of the grid that lie beyond the range are walked through until the range is met again.

    Args:
        size: length of the range, >= 1; an array gives each element a range of its own.
        key: which permutation; an array gives each element its own.
    """

    def __init__(self, size: ArrayLike, key: ArrayLike) -> None:
        self._size = np.asarray(size).astype(np.uint64)
        # An even number of rows: turns of odd lengths alone could only make even permutations.
        self._rows = 2 * np.ceil(np.sqrt(self._size) / 2).astype(np.uint64)
        self._columns = (self._size + self._rows - np.uint64(1)) // self._rows
        self._round_keys = derive_key(np.asarray(key)[..., None], np.arange(2 * _ROUNDS))  # [..., 2 * rounds]

    def __call__(self, index: ArrayLike) -> Ints:
        """Where each element of ``index`` goes; both lie in ``range(size)``."""
        image = np.asarray(index).astype(np.uint64)
        shape = np.broadcast_shapes(image.shape, self._size.shape, self._round_keys.shape[:-1])
        size, rows, columns = (np.broadcast_to(x, shape) for x in (self._size, self._rows, self._columns))
        keys = np.broadcast_to(self._round_keys, (*shape, 2 * _ROUNDS))
        image = _turn(np.broadcast_to(image, shape), rows, columns, keys)
        while (outside := image >= size).any():
            image[outside] = _turn(image[outside], rows[outside], columns[outside], keys[outside])
        return image.astype(np.int64)


def _turn(cell: Keys, rows: Keys, columns: Keys, keys: Keys) -> Keys:
    """Move each cell of a ``rows`` x ``columns`` grid, one to one."""
    row, column = np.divmod(cell, columns)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        for turn in range(0, 2 * _ROUNDS, 2):
            row = (row + mix(keys[..., turn] + column) % rows) % rows
            column = (column + mix(keys[..., turn + 1] + row) % columns) % columns
    return np.asarray(row * columns + column)
