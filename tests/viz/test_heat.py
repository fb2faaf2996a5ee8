"""Numbers as colours."""

from __future__ import annotations

import torch

from franca.viz.heat import heat


def test_more_is_brighter_and_one_patch_does_not_eat_up_the_range() -> None:
    values = torch.arange(400.0).reshape(20, 20)
    values[0, 0] = 1e6
    brightness = heat(values).int().sum(-1).flatten()
    assert brightness[1] < 30 and brightness[200] > 200 and brightness[0] == brightness[399]
    assert (brightness[1:].diff() >= -2).all()


def test_nothing_at_all_is_black() -> None:
    assert heat(torch.zeros(3, 4)).shape == (3, 4, 3) and heat(torch.zeros(3, 4)).max() < 10
