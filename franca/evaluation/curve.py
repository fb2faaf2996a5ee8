"""Accuracy over the number of dimensions, of nested prefixes and of PCA, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from franca.evaluation.prefixes import PrefixRow, prefix_rows
from franca.evaluation.report import Result

SIZE_INCHES = (4.5, 3.6)


def draw_prefixes(results: Sequence[Result], path: Path, *, title: str = "") -> bool:
    """Writes a PNG with a panel for each protocol: nested prefixes as lines, PCA to the same widths as dashes.

    Args:
        results: Those without prefixes are left out.
        path: Where the picture goes.
        title: Above all panels.

    Returns:
        Whether there was anything to draw; nothing is written where not.
    """
    panels = {result.protocol: prefix_rows(result.metrics) for result in results}
    panels = {protocol: rows for protocol, rows in panels.items() if rows}
    if not panels:
        return False
    # Slow to import, and most evaluations draw nothing.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE_INCHES[0] * len(panels), SIZE_INCHES[1]), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (protocol, rows) in zip(axes, panels.items(), strict=True):
        _draw(panel, rows)
        panel.set_title(protocol)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
    return True


def _draw(panel: object, rows: Sequence[PrefixRow]) -> None:
    """One protocol: a colour for each metric."""
    from matplotlib.axes import Axes

    assert isinstance(panel, Axes)
    metrics = list(dict.fromkeys(row.metric for row in rows))
    for index, metric in enumerate(metrics):
        mine = sorted((row for row in rows if row.metric == metric), key=lambda row: row.width)
        widths = [row.width for row in mine]
        name = f"{metric}, " if len(metrics) > 1 else ""
        panel.plot(widths, [100 * row.nested for row in mine], "o-", color=f"C{index}", label=f"{name}nested")
        compared = [(row.width, 100 * row.pca) for row in mine if row.pca is not None]
        if compared:
            panel.plot(*zip(*compared, strict=True), "s--", color=f"C{index}", alpha=0.6, label=f"{name}PCA")
    ticks = sorted({row.width for row in rows})
    panel.set_xscale("log", base=2)
    panel.set_xticks(ticks, [str(width) for width in ticks])
    panel.set(xlabel="dimensions", ylabel="%" if len(metrics) > 1 else f"{metrics[0]}, %")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
