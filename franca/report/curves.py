"""Loss curves as a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from franca.report.metrics import Record

HEALTH = {
    "loss / ln K": "loss_over_ln_k",
    "entropy of a target / ln K": "target_entropy",
    "prototypes that are a first choice": "prototypes_used",
    "spread of class features": "feature_spread",
    "effective rank of class features": "effective_rank",
    "update / weights": "update_ratio",
}
"""Titles, and the metrics that are drawn under them."""


def loss_figure(records: Sequence[Record]) -> Figure:
    """Total loss, and every level of each clustering loss.

    Args:
        records: lines of metrics, at least one.
    """
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    _draw(axes[0], "total loss", {"total": _series(records, "loss/total")})
    for axis, term in zip(axes[1:], ("dino", "ibot"), strict=True):
        names = [name for name in records[-1] if name.startswith(f"loss/{term}_d")]
        _draw(axis, f"{term}, by level", {_level(name): _series(records, name) for name in names})
    return figure


def health_figure(records: Sequence[Record]) -> Figure:
    """What was measured of targets, features and updates, each level or part a line.

    Args:
        records: lines of metrics, one of which holds measurements.
    """
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    for axis, (title, metric) in zip(figure.subplots(2, 3).flat, HEALTH.items(), strict=True):
        names = dict.fromkeys(name for record in records for name in record if name.split("/")[0] == metric)
        _draw(axis, title, {name.rpartition("/")[2]: _series(records, name) for name in names})
    return figure


def has_health(records: Sequence[Record]) -> bool:
    """Whether there is anything for `health_figure`."""
    return any("feature_spread" in record for record in records)


def _level(name: str) -> str:
    """``d = 192`` for ``loss/dino_d192``."""
    return f"d = {name.rpartition('_d')[2]}"


def _series(records: Sequence[Record], name: str) -> tuple[list[float], list[float]]:
    """Steps and values where the value is a finite number."""
    points = [(step, record.get(name)) for record in records if (step := record["step"]) is not None]
    finite = [(step, value) for step, value in points if value is not None and math.isfinite(value)]
    return [step for step, _ in finite], [value for _, value in finite]


def _draw(axis: Axes, title: str, lines: Mapping[str, tuple[list[float], list[float]]]) -> None:
    for label, (steps, values) in lines.items():
        axis.plot(steps, values, label=label, linewidth=1.2)
    axis.set(title=title, xlabel="step")
    axis.grid(alpha=0.3)
    if lines:
        axis.legend(fontsize="small", frameon=False)
