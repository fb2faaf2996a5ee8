"""The update's size, read from the optimizer, is that of the difference that the weights show."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from franca.train.clipping import Clip
from franca.train.schedules import Rates
from franca.train.step import train_step
from franca.train.update_ratio import update_ratios
from tests.objective.factory import make_batch, make_objective
from tests.train.test_step import RATES, make


@pytest.mark.parametrize("rates", [RATES, replace(RATES, learning_rate=0.02, weight_decay=0.5)])
def test_it_is_the_difference_over_the_weights(rates: Rates) -> None:
    networks, optimizer = make()
    for seed in range(3):
        before = {name: p.detach().clone() for name, p in networks.student.named_parameters()}
        train_step(networks, make_objective(), optimizer, [make_batch(seed)], rates, clip=Clip(3.0))
        found = update_ratios(networks.student, optimizer)
        assert list(found) == ["backbone", "dino_head", "ibot_head"]
        for name, prefix in (("backbone", "backbone."), ("dino_head", "heads.dino."), ("ibot_head", "heads.ibot.")):
            after = {key: p.detach() for key, p in networks.student.named_parameters() if key.startswith(prefix)}
            moved = torch.cat([(value - before[key]).flatten() for key, value in after.items()]).norm()
            size = torch.cat([value.flatten() for value in after.values()]).norm()
            assert float(found[name]) == pytest.approx(float(moved / size), rel=1e-3)


def test_what_is_frozen_does_not_move() -> None:
    networks, optimizer = make()
    rates = replace(RATES, backbone_frozen=True)
    train_step(networks, make_objective(), optimizer, [make_batch(0)], rates, clip=Clip(3.0))
    found = update_ratios(networks.student, optimizer)
    assert found["backbone"] == 0 < found["dino_head"]
