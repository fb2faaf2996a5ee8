"""Several sources at once, each with its share of the images that a run sees.

Positions are dealt to the sources evenly: among any n of them in a row, each source has its share of n to within one
image for each source there is. What is dealt to a source runs through that source's own plan, so that each of its
passes shows each of its samples once, however long the passes of the others are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from franca.data.plan import Plan, SamplePlan
from franca.data.randomness import Ints, Stream, derive_key
from franca.data.sample import Encoded, EncodedSource, Sample, Source
from franca.errors import ConfigError

_WHOLE = 1 << 20  # shares are whole multiples of one part in so many, so that dealing is exact at any position


class MixtureSource:
    """The samples of several sources, end to end.

    Args:
        sources: At least one.
        weights: Share of each in the images seen, above 0; only their proportions matter.

    Raises:
        ConfigError: The numbers of sources and weights differ, or a weight is not above 0.
    """

    kind = "mixture"
    class_names = None

    def __init__(self, sources: Sequence[Source], weights: Sequence[float]) -> None:
        if len(sources) != len(weights) or not sources:
            raise ConfigError(
                f"data.weights has {len(weights)} numbers for {len(sources)} sources; expected one for each."
            )
        if min(weights) <= 0:
            raise ConfigError(f"data.weights is {list(weights)}; each must be above 0. Leave out what is not wanted.")
        self.sources = tuple(sources)
        self.parts = tuple(max(1, round(weight / sum(weights) * _WHOLE)) for weight in weights)
        self.location = ", ".join(source.location for source in sources)
        self.group_sizes = tuple(size for source in sources for size in source.group_sizes)
        self._ends = np.cumsum([len(source) for source in sources])

    @property
    def shares(self) -> list[float]:
        """Share of each source in the images seen; they add up to 1."""
        return [part / sum(self.parts) for part in self.parts]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int) -> Sample:
        """Reads a sample of the source that ``index`` lies in."""
        source, number = self._locate(index)
        return source.read(number)

    def _locate(self, index: int) -> tuple[Source, int]:
        place = int(np.searchsorted(self._ends, index, side="right"))
        source = self.sources[place]
        return source, index - int(self._ends[place]) + len(source)


class EncodedMixtureSource(MixtureSource):
    """A mixture of sources whose images are all files."""

    def read_encoded(self, index: int) -> Encoded:
        """Reads an image file of the source that ``index`` lies in."""
        source, number = self._locate(index)
        assert isinstance(source, EncodedSource)
        return source.read_encoded(number)


def mix(sources: Sequence[Source], weights: Sequence[float]) -> MixtureSource:
    """A mixture that gives what all of its sources can give."""
    encoded = all(isinstance(source, EncodedSource) for source in sources)
    return (EncodedMixtureSource if encoded else MixtureSource)(sources, weights)


class MixturePlan:
    """Which sample of which source comes when: a pure function of the seed and the position.

    Args:
        plans: One for each source; sample indices count through the sources in this order.
        parts: Share of each, as whole numbers in proportion.
        seed: Where dealing begins.
    """

    def __init__(self, plans: Sequence[Plan], parts: Sequence[int], *, seed: int) -> None:
        self._plans, self._parts = tuple(plans), tuple(parts)
        sizes = [plan.num_samples for plan in plans]
        self.num_samples = sum(sizes)
        self._starts = np.cumsum(sizes) - sizes
        self._seed = seed

    def samples(self, positions: ArrayLike) -> Ints:
        """The sample at each position.

        Args:
            positions: [B], each from 0 to 10^12.

        Returns:
            [B], each in ``range(num_samples)``.
        """
        sources, turns = self.deal(positions)
        samples = np.empty_like(turns)
        for source, plan in enumerate(self._plans):
            chosen = sources == source
            if chosen.any():
                samples[chosen] = self._starts[source] + plan.samples(turns[chosen])
        return samples

    def replacement(self, position: int, attempt: int) -> int:
        """The sample to take where the one at ``position`` cannot be read: one of the same source."""
        (source,), (turn,) = self.deal([position])
        replacement: int = self._plans[source].replacement(int(turn), attempt)
        return int(self._starts[source]) + replacement

    def deal(self, positions: ArrayLike) -> tuple[Ints, Ints]:
        """The source of each position [B], and how many positions before it [B] belong to the same source."""
        rest = np.array(positions, dtype=np.int64)  # counts only the positions that earlier sources left
        sources = np.full(rest.shape, len(self._parts) - 1)
        turns, open_ = rest.copy(), np.ones(rest.shape, dtype=bool)
        for source, part in enumerate(self._parts[:-1]):
            left = sum(self._parts[source:])
            phase = int(derive_key(self._seed, Stream.MIXTURE, source) % np.uint64(left))
            before, after = (rest * part + phase) // left, ((rest + 1) * part + phase) // left
            chosen = open_ & (after > before)
            sources[chosen], turns[chosen] = source, before[chosen]
            open_ &= ~chosen
            rest = rest - before
        turns[open_] = rest[open_]
        return sources, turns


def make_plan(source: Source, *, seed: int, order: str = "auto", num_lanes: int = 64, window: int = 8192) -> Plan:
    """The plan of a source; of a mixture, one for each part of it.

    Args:
        source: Whose samples.
        seed: Which plan.
        order: As `SamplePlan`; ``auto`` takes ``lanes`` where shards must be fetched, whatever their number.
        num_lanes: As `SamplePlan`.
        window: As `SamplePlan`.
    """
    if isinstance(source, MixtureSource):
        seeds = [int(derive_key(seed, Stream.MIXTURE, len(source.parts), i)) for i in range(len(source.parts))]
        plans = [
            make_plan(part, seed=seed_of_part, order=order, num_lanes=num_lanes, window=window)
            for part, seed_of_part in zip(source.sources, seeds, strict=True)
        ]
        return MixturePlan(plans, source.parts, seed=seed)
    if order == "auto" and getattr(source, "is_remote", False):
        order = "lanes"
    return SamplePlan(source.group_sizes, seed=seed, order=order, num_lanes=num_lanes, window=window)
