"""Which sample comes when: a pure function of the seed and the position, endless, the same for any rank and worker.

Position p of the plan lies in pass ``p // n`` over the n samples, and each pass shows every sample exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from franca.data.permutation import Permutation
from franca.data.randomness import Ints, Stream, derive_key
from franca.errors import ConfigError, DataError

FULL_ORDER_LIMIT = 4_000_000
SHORTEST_LANE = 64
ORDERS = ("auto", "full", "lanes")


class Plan(Protocol):
    """Which sample comes at each position."""

    @property
    def num_samples(self) -> int:
        """Samples there are."""

    def samples(self, positions: ArrayLike) -> Ints:
        """The sample at each of the positions [B]."""
        ...

    def replacement(self, position: int, attempt: int) -> int:
        """The sample to take where the one at ``position`` cannot be read; ``attempt`` counts from 0."""
        ...


class SamplePlan:
    """The endless order of samples.

    ``full`` is one permutation of all samples a pass. ``lanes`` reads nearly sequentially: the shards, in a new order
    each pass, form one long row that is cut into lanes of equal length; lanes take turns, and each is shuffled within
    windows whose borders lie elsewhere each pass.

    Args:
        group_sizes: samples of each shard; sample indices count through the shards in this order.
        seed: which plan.
        order: ``full``, ``lanes``, or ``auto``: ``full`` up to four million samples.
        num_lanes: lanes, >= 1; fewer where a lane would have under 64 samples. Consecutive positions belong to
            different lanes.
        window: samples of one lane that are shuffled together, >= 1.

    Raises:
        DataError: there is no sample.
        ConfigError: the order is unknown.
    """

    def __init__(
        self, group_sizes: Sequence[int], *, seed: int, order: str = "auto", num_lanes: int = 64, window: int = 8192
    ) -> None:
        if order not in ORDERS:
            raise ConfigError(f"data.order is {order!r}; expected one of: {', '.join(ORDERS)}.")
        self._sizes = np.asarray(group_sizes, dtype=np.int64)
        self.num_samples = int(self._sizes.sum())
        if self.num_samples == 0:
            raise DataError(f"The source holds no sample in its {len(group_sizes)} shards; a plan needs at least one.")
        self.order = order if order != "auto" else "full" if self.num_samples <= FULL_ORDER_LIMIT else "lanes"
        most_lanes = max(1, self.num_samples // SHORTEST_LANE)  # more of them would leave each too little to shuffle
        self.num_lanes = min(num_lanes, most_lanes) if self.order == "lanes" else 1
        self._seed, self._window = seed, window
        self._shards: tuple[int, Ints, Ints] | None = None

    def samples(self, positions: ArrayLike) -> Ints:
        """The sample at each position.

        Args:
            positions: [B], each >= 0.

        Returns:
            [B], each in ``range(num_samples)``.
        """
        passes, offsets = np.divmod(np.asarray(positions, dtype=np.int64), self.num_samples)
        if self.order == "full":
            return Permutation(self.num_samples, derive_key(self._seed, Stream.ORDER, passes))(offsets)
        places = self._places(passes, offsets)
        for number in np.unique(passes):
            chosen = passes == number
            ends, shifts = self._shard_row(int(number))
            places[chosen] += shifts[np.searchsorted(ends, places[chosen], side="right")]
        return places

    def replacement(self, position: int, attempt: int) -> int:
        """The sample to take where the one at ``position`` cannot be read: one of the next window of any lane.

        That part of the data is being read anyway, and does not lie in the same shard, which may be bad as a whole.
        ``attempt`` counts from 0; after the first two, more and more windows are taken in.
        """
        key = int(derive_key(self._seed, Stream.REPLACEMENT, position, attempt))
        ahead = 1 + attempt + key % (self._window << max(0, attempt - 1))
        lane = (key >> 32) % self.num_lanes
        return int(self.samples([position + ahead * self.num_lanes + lane])[0])

    def _places(self, passes: Ints, offsets: Ints) -> Ints:
        """Where in the row of shards each offset of a pass reads: its lane, shuffled within its window."""
        index, lane = np.divmod(offsets, self.num_lanes)
        length, longer = divmod(self.num_samples, self.num_lanes)  # the first lanes are longer by one
        lane_start = lane * length + np.minimum(lane, longer)
        lane_length = length + (lane < longer)
        border = (derive_key(self._seed, Stream.WINDOW_BORDER, passes, lane) % np.uint64(self._window)).astype(np.int64)
        window = (index + border) // self._window
        start = np.maximum(window * self._window - border, 0)
        end = np.minimum((window + 1) * self._window - border, lane_length)
        key = derive_key(self._seed, Stream.WINDOW, passes, lane, window)
        return np.asarray(lane_start + start + Permutation(end - start, key)(index - start))

    def _shard_row(self, number: int) -> tuple[Ints, Ints]:
        """The row of shards in one pass: where each ends, and how far its samples' indices are from their places."""
        if self._shards is None or self._shards[0] != number:
            key = derive_key(self._seed, Stream.SHARDS, number)
            shards = Permutation(len(self._sizes), key)(np.arange(len(self._sizes)))
            first_samples = np.cumsum(self._sizes) - self._sizes
            ends = np.cumsum(self._sizes[shards])
            self._shards = (number, ends, first_samples[shards] - (ends - self._sizes[shards]))
        return self._shards[1:]
