"""Watches over a run: adds its health and its alarms to the lines of metrics, and speaks up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from franca.train.alarms import ALARMS, Alarms, Record, announce
from franca.train.loop import StepEvent


class Watch:
    """Says once when an alarm begins to ring, and once when it is over.

    Args:
        measure: Numbers of the run's health, where they are due.
        alarms: Of this run.
        lines: That the run has logged before; what was ringing then is known and not said again.
        say: Where to, such as a console's ``print``.
    """

    def __init__(
        self,
        measure: Callable[[StepEvent], Mapping[str, float]],
        alarms: Alarms,
        lines: Iterable[Record],
        say: Callable[[str], None],
    ) -> None:
        self._measure, self._alarms, self._say = measure, alarms, say
        self._ringing: Mapping[str, float] = {}
        for line in lines:
            self._ringing = alarms(line)

    def __call__(self, event: StepEvent, record: Mapping[str, float]) -> dict[str, float]:
        """The line of a step with what is added to it; every rank must ask."""
        line = {**record, **self._measure(event)}
        before, self._ringing = self._ringing, self._alarms(line)
        line |= self._ringing
        for alarm in ALARMS:
            if alarm.key in line and alarm.key not in before:
                self._say(announce(alarm, line))
            if alarm.key in before and alarm.key not in line:
                self._say(f"alarm {alarm.name} is over at step {event.step:,}")
        return line
