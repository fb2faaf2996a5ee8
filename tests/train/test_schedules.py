"""Schedules at their beginning, their corners and their end."""

from __future__ import annotations

import math

import pytest

from franca.train.schedules import Schedule, cosine, linear, scaled_learning_rate, warmup_cosine

SCHEDULE = Schedule(
    num_steps=100,
    learning_rate=1e-3,
    min_learning_rate=1e-6,
    warmup_steps=10,
    weight_decay=0.04,
    weight_decay_end=0.2,
    teacher_momentum=0.994,
    teacher_momentum_end=1.0,
    teacher_temperature=0.04,
    teacher_temperature_end=0.07,
    teacher_temperature_warmup_steps=30,
    freeze_prototypes_steps=5,
    freeze_backbone_steps=3,
)


def test_at_the_beginning() -> None:
    rates = SCHEDULE(0)
    assert rates.learning_rate == 0
    found = (rates.weight_decay, rates.teacher_momentum, rates.teacher_temperature)
    assert found == pytest.approx((0.04, 0.994, 0.04))
    assert rates.prototypes_frozen


def test_at_the_end_of_each_warm_up() -> None:
    assert SCHEDULE(5).learning_rate == pytest.approx(5e-4)
    assert SCHEDULE(10).learning_rate == pytest.approx(1e-3)
    assert SCHEDULE(15).teacher_temperature == pytest.approx(0.055)
    assert SCHEDULE(30).teacher_temperature == 0.07
    assert SCHEDULE(4).prototypes_frozen and not SCHEDULE(5).prototypes_frozen
    assert SCHEDULE(2).backbone_frozen and not SCHEDULE(3).backbone_frozen


def test_at_the_last_step() -> None:
    rates = SCHEDULE(99)
    assert rates.learning_rate == pytest.approx(1e-6)
    assert rates.weight_decay == pytest.approx(0.2)
    assert rates.teacher_momentum == pytest.approx(1.0)


def test_cosine_is_half_way_in_the_middle_and_stays_at_its_end() -> None:
    assert cosine(50, start=1.0, end=0.0, num_steps=101) == pytest.approx(0.5)
    assert cosine(25, start=1.0, end=0.0, num_steps=101) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert cosine(500, start=1.0, end=0.25, num_steps=101) == pytest.approx(0.25)


def test_lengths_of_zero_and_one() -> None:
    assert linear(0, start=1.0, end=2.0, num_steps=0) == 2.0
    assert cosine(0, start=1.0, end=0.0, num_steps=1) == 1.0
    assert warmup_cosine(0, peak=1.0, end=0.0, warmup_steps=0, num_steps=10) == 1.0


def test_a_warm_up_longer_than_the_run_is_followed_as_far_as_it_goes() -> None:
    assert warmup_cosine(9, peak=1.0, end=0.0, warmup_steps=100, num_steps=10) == pytest.approx(0.09)


@pytest.mark.parametrize(("rule", "expected"), [("sqrt", 5e-4), ("linear", 2.5e-4), ("none", 1e-3)])
def test_learning_rate_rules(rule: str, expected: float) -> None:
    found = scaled_learning_rate(1e-3, global_batch=512, reference_batch=2048, rule=rule)
    assert found == pytest.approx(expected)
