"""Several runs of one measurement, and how sure their mean is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Repeats:
    """Values that differ by their seed alone."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Repeats:
        """Values of one run each."""
        return cls(tuple(values))

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values)

    @property
    def std(self) -> float:
        """Standard deviation of a single run (n - 1 in the denominator); 0 for one run."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def half_interval(self) -> float:
        """Half the width of the 95 % interval of the mean, by Student's t; 0 for one run."""
        count = len(self.values)
        return float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * self.std / count**0.5 if count > 1 else 0.0

    def numbers(self, metric: str) -> dict[str, float]:
        """Spread and interval by name, as a report shows them beside the mean."""
        if len(self.values) < 2:
            return {}
        return {f"{metric}_std": self.std, f"{metric}_interval95": self.half_interval}
