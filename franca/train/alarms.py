"""What the numbers of a run's health may mean: each alarm, when it rings, and what to do.

Alarms are a function of the lines of metrics.jsonl alone. So a resumed run, which reads its lines again, knows what was
ringing, and whoever reads the file finds what the run said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

Record = Mapping[str, float | None]
"""A line of metrics.jsonl; what was not finite is None there."""

NUM_SHOWN = 3
PATIENCE = 3
"""Measurements in a row that must agree before an alarm rings: one batch may be odd."""


@dataclass(frozen=True)
class Alarm:
    """One thing that may go wrong unseen, while losses and gradients are finite."""

    name: str
    what: str
    meaning: str
    lever: str
    metric: str
    """What it is judged by: a metric, or the first part of the names of one metric a level."""
    is_bad: Callable[[float], bool]

    @property
    def key(self) -> str:
        """Holds, on every line of metrics on which the alarm rings, the step since which it has."""
        return f"alarm/{self.name}"

    def judge(self, record: Record) -> list[str] | None:
        """What is bad on a line, as ``name value``; None where the metric was not measured."""
        values = {name: value for name, value in record.items() if name.split("/")[0] == self.metric}
        bad = [f"{name} {value:.3g}" for name, value in values.items() if value is not None and self.is_bad(value)]
        return bad if values else None


ALARMS = (
    Alarm(
        name="loss_at_ln_k",
        what="a loss is not below ln K",
        meaning="The student predicts no better than by giving every prototype the same share: it has not begun to "
        "learn, or has collapsed.",
        lever="Look at the other alarms first. Else raise optim.learning_rate, shorten optim.warmup_steps, or raise "
        "train.global_batch.",
        metric="loss_over_ln_k",
        is_bad=lambda value: value >= 0.995,
    ),
    Alarm(
        name="constant_teacher",
        what="the teacher gives all images the same features",
        meaning="The backbone has collapsed to a point, or does not look at its images yet.",
        lever="Begin again, with init.full from a run that was better, and with a lower optim.learning_rate, a longer "
        "optim.warmup_steps or a higher objective.koleo_weight.",
        metric="feature_spread",
        is_bad=lambda value: value < 0.01,
    ),
    Alarm(
        name="certain_teacher",
        what="the teacher's targets are single prototypes",
        meaning="Targets say nothing of what resembles what, and soon only their noise is learned.",
        lever="Raise optim.teacher_temperature and optim.teacher_temperature_end.",
        metric="target_entropy",
        is_bad=lambda value: value < 0.01,
    ),
    Alarm(
        name="uniform_teacher",
        what="the teacher's targets are the same share for every prototype",
        meaning="Targets tell no token from another, so there is nothing to learn.",
        lever="Lower optim.teacher_temperature and optim.teacher_temperature_end. If constant_teacher rings as well, "
        "begin there.",
        metric="target_entropy",
        is_bad=lambda value: value > 0.995,
    ),
    Alarm(
        name="dead_prototypes",
        what="nine prototypes in ten are nobody's first choice",
        meaning="Tokens fall into a few clusters, and the other prototypes only share what Sinkhorn-Knopp hands out.",
        lever="Lower objective.num_prototypes or the learning rate, raise optim.teacher_temperature, or lengthen "
        "optim.freeze_last_layer_steps.",
        metric="prototypes_used",
        is_bad=lambda value: value < 0.1,
    ),
)


class Alarms:
    """Follows the lines of metrics of one run.

    Args:
        judge_after_steps: Lines of earlier steps are not judged: a run begins with features that are all the same.
        patience: Measurements in a row that must agree.
    """

    def __init__(self, judge_after_steps: int, *, patience: int = PATIENCE) -> None:
        self.judge_after_steps = judge_after_steps
        self.patience = patience
        self._bad: dict[str, tuple[float, int]] = {}  # by key: the first of the bad steps in a row, and their number

    def __call__(self, record: Record) -> dict[str, float]:
        """Take in the next line; the step since which each alarm rings, by its key."""
        step = record["step"]
        if step is not None and step > self.judge_after_steps:
            for alarm in ALARMS:
                self._follow(alarm, record, step)
        return {key: first for key, (first, number) in self._bad.items() if number >= self.patience}

    def _follow(self, alarm: Alarm, record: Record, step: float) -> None:
        findings = alarm.judge(record)
        if findings:
            first, number = self._bad.get(alarm.key, (step, 0))
            self._bad[alarm.key] = first, number + 1
        elif findings is not None:
            self._bad.pop(alarm.key, None)


def begun(records: Iterable[Record]) -> Iterator[tuple[Record, Alarm]]:
    """Every line on which an alarm begins to ring, with the alarm, in order."""
    before: Record = {}
    for record in records:
        yield from ((record, alarm) for alarm in ALARMS if alarm.key in record and alarm.key not in before)
        before = record


def announce(alarm: Alarm, record: Record) -> str:
    """What is said when an alarm begins to ring with this line."""
    findings = alarm.judge(record) or []
    shown = findings[:NUM_SHOWN] + [f"{len(findings) - NUM_SHOWN} more"] * (len(findings) > NUM_SHOWN)
    return (
        f"alarm {alarm.name}: {alarm.what}, since step {record[alarm.key]:,.0f} ({', '.join(shown)}). {alarm.meaning} "
        f"{alarm.lever} More in docs/trouble.md"
    )
