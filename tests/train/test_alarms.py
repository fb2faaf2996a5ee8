"""Alarms: when they ring and fall silent, what they say, and that the documents know them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from franca.train.alarms import ALARMS, PATIENCE, Alarm, Alarms, Record, announce, begun

DOCS = Path(__file__).parents[2] / "docs/trouble.md"
HEALTHY = {
    "loss_over_ln_k/dino_d8": 0.9,
    "target_entropy/dino_d8": 0.5,
    "prototypes_used/dino_d8": 0.8,
    "feature_spread": 0.7,
}
BAD = {
    "loss_at_ln_k": {"loss_over_ln_k/dino_d8": 1.001},
    "constant_teacher": {"feature_spread": 1e-4},
    "certain_teacher": {"target_entropy/dino_d8": 1e-5},
    "uniform_teacher": {"target_entropy/dino_d8": 0.9999},
    "dead_prototypes": {"prototypes_used/dino_d8": 0.01},
}


def line(step: int, **changes: float | None) -> Record:
    return {"step": step, **HEALTHY, **changes}


def alarm_called(name: str) -> Alarm:
    return next(alarm for alarm in ALARMS if alarm.name == name)


def ringing(alarms: Alarms, *lines: Record) -> list[dict[str, float]]:
    return [alarms(one) for one in lines]


@pytest.mark.parametrize("name", [alarm.name for alarm in ALARMS])
def test_each_rings_alone_for_its_number_after_three_measurements(name: str) -> None:
    found = ringing(Alarms(0), *(line(step, **BAD[name]) for step in (10, 20, 30, 40)))
    rings = {f"alarm/{name}": 10}
    assert found == [{}, {}, rings, rings] and PATIENCE == 3


@pytest.mark.parametrize("name", [alarm.name for alarm in ALARMS])
def test_each_is_silent_for_healthy_numbers_and_for_none(name: str) -> None:
    lines = [line(step) for step in range(1, 9)] + [line(step, **dict.fromkeys(BAD[name])) for step in range(9, 19)]
    assert ringing(Alarms(0), *lines) == [{}] * 18


def test_a_good_measurement_ends_it_and_it_may_ring_again() -> None:
    bad = BAD["constant_teacher"]
    lines = [line(step, **({} if step == 4 else bad)) for step in range(1, 8)]
    found = ringing(Alarms(0), *lines)
    assert found == [{}, {}, {"alarm/constant_teacher": 1}, {}, {}, {}, {"alarm/constant_teacher": 5}]


def test_lines_without_measurements_change_nothing() -> None:
    bad = BAD["constant_teacher"]
    found = ringing(Alarms(0), line(1, **bad), line(2, **bad), {"step": 3}, line(4, **bad), {"step": 5}, line(6))
    assert found[2:] == [{}, {"alarm/constant_teacher": 1}, {"alarm/constant_teacher": 1}, {}]


def test_the_warm_up_is_not_judged() -> None:
    found = ringing(Alarms(10), *(line(step, **BAD["loss_at_ln_k"]) for step in (5, 10, 11, 12, 13)))
    assert found == [{}] * 4 + [{"alarm/loss_at_ln_k": 11}]


def test_one_bad_level_is_enough_and_is_named() -> None:
    alarms, record = Alarms(0, patience=1), line(20, **{"loss_over_ln_k/ibot_d4": 1.0})
    record = {**record, **alarms(record)}
    text = announce(alarm_called("loss_at_ln_k"), record)
    assert "since step 20 (loss_over_ln_k/ibot_d4 1)" in text and "dino" not in text and "docs/trouble.md" in text


def test_many_bad_levels_are_named_in_part() -> None:
    record = {"step": 20, "alarm/loss_at_ln_k": 20} | {f"loss_over_ln_k/ibot_d{width}": 1.0 for width in range(5)}
    assert "(loss_over_ln_k/ibot_d0 1, loss_over_ln_k/ibot_d1 1, loss_over_ln_k/ibot_d2 1, 2 more)" in announce(
        alarm_called("loss_at_ln_k"), record
    )


def test_the_beginnings_are_found_in_the_lines_of_metrics() -> None:
    lines: list[Record] = [
        {"step": 1},
        {"step": 2, "alarm/constant_teacher": 1},
        {"step": 3, "alarm/constant_teacher": 1, "alarm/loss_at_ln_k": 2},
        {"step": 4},
        {"step": 5, "alarm/constant_teacher": 4},
    ]
    assert [(record["step"], alarm.name) for record, alarm in begun(lines)] == [
        (2, "constant_teacher"),
        (3, "loss_at_ln_k"),
        (5, "constant_teacher"),
    ]


def test_the_documents_know_every_alarm_and_no_other() -> None:
    headings = re.findall(r"^### Alarm `(\w+)`$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings == [alarm.name for alarm in ALARMS]
