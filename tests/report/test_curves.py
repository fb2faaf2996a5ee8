"""Loss curves: one line a level, and no point where there is no number."""

from __future__ import annotations

import math

from franca.report.curves import loss_figure

RECORDS = [
    {"step": step, "loss/total": 3.0 / step, "loss/dino_d8": 2.0, "loss/dino_d4": 1.0, "loss/ibot_d8": math.nan}
    for step in range(1, 4)
]


def test_one_run_shows_total_and_levels() -> None:
    figure = loss_figure(RECORDS)
    total, dino, ibot = figure.axes
    assert [list(line.get_xdata()) for line in total.lines] == [[1, 2, 3]]
    assert [line.get_label() for line in dino.lines] == ["d = 8", "d = 4"]
    assert [len(line.get_xdata()) for line in ibot.lines] == [0]
