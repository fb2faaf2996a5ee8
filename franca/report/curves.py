"""Loss curves as a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from franca.report.metrics import Record

matplotlib.use("Agg")

Run = tuple[str, Sequence[Record]]
"""A run's name and its metrics."""


def loss_figure(runs: Sequence[Run]) -> Figure:
    """Total loss of every run and, for a single one, every level of each clustering loss.

    Args:
        runs: names and metrics; at least one.
    """
    if len(runs) > 1:
        figure = Figure(figsize=(7, 3.5), layout="constrained")
        _draw(figure.subplots(), "total loss", {name: _series(records, "loss/total") for name, records in runs})
        return figure
    records = runs[0][1]
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    _draw(axes[0], "total loss", {"total": _series(records, "loss/total")})
    for axis, term in zip(axes[1:], ("dino", "ibot"), strict=True):
        names = [name for name in records[-1] if name.startswith(f"loss/{term}_d")]
        _draw(axis, f"{term}, by level", {_level(name): _series(records, name) for name in names})
    return figure


def _level(name: str) -> str:
    """``d = 192`` for ``loss/dino_d192``."""
    return f"d = {name.rpartition('_d')[2]}"


def _series(records: Sequence[Record], name: str) -> tuple[list[float], list[float]]:
    """Steps and values where the value is a finite number."""
    points = [(record["step"], record[name]) for record in records if math.isfinite(record.get(name, math.nan))]
    return [step for step, _ in points], [value for _, value in points]


def _draw(axis: Axes, title: str, lines: Mapping[str, tuple[list[float], list[float]]]) -> None:
    for label, (steps, values) in lines.items():
        axis.plot(steps, values, label=label, linewidth=1.2)
    axis.set(title=title, xlabel="step")
    axis.grid(alpha=0.3)
    if lines:
        axis.legend(fontsize="small", frameon=False)
