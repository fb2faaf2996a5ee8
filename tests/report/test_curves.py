"""Loss curves: one line a level, and no point where there is no number."""

from __future__ import annotations

import math

from franca.report.curves import HEALTH, has_health, health_figure, loss_figure

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


def test_health_shows_every_measurement_of_every_level_where_there_was_one() -> None:
    measured = {"target_entropy/dino_d8": 0.5, "target_entropy/ibot_d8": 0.4, "feature_spread": 0.9}
    records = [{"step": step, **(measured if step % 2 == 0 else {})} for step in range(1, 6)]
    assert has_health(records) and not has_health(records[::2])
    axes = {axis.get_title(): axis for axis in health_figure(records).axes}
    assert list(axes) == list(HEALTH)
    entropy = axes["entropy of a target / ln K"].lines
    assert [line.get_label() for line in entropy] == ["dino_d8", "ibot_d8"]
    assert [list(line.get_xdata()) for line in entropy] == [[2, 4], [2, 4]]
    assert [len(line.get_xdata()) for line in axes["spread of class features"].lines] == [2]
