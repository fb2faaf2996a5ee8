"""Says once, where training waits for its data, what to do about it."""

from __future__ import annotations

from collections.abc import Callable

from franca.train.loop import StepEvent

WORTH_SAYING = 0.2  # of the time


class AdviseOnDataWait:
    """Speaks up, once, when a run waits for data for more than a fifth of its time for a while.

    Args:
        say: Where to, such as a console's ``print``.
        advice: What to do about it.
        every_steps: Steps over which the waiting is measured.
        every_seconds: What they take at least. The first measurement, with the start of the workers in it, is left out.
    """

    def __init__(
        self, say: Callable[[str], None], advice: str, *, every_steps: int = 20, every_seconds: float = 60.0
    ) -> None:
        self._say, self._advice = say, advice
        self._every_steps, self._every_seconds = every_steps, every_seconds
        self._measurements = 0
        self._restart()

    def _restart(self) -> None:
        self._steps, self._seconds, self._waited = 0, 0.0, 0.0

    def __call__(self, event: StepEvent) -> None:
        """Count the step; judge when enough were counted."""
        self._steps += 1
        self._seconds += event.seconds
        self._waited += event.waited_seconds
        if self._steps < self._every_steps or self._seconds < self._every_seconds:
            return
        self._measurements += 1
        share = self._waited / self._seconds
        if self._measurements > 1 and share > WORTH_SAYING and self._advice:
            self._say(f"note: {share:.0%} of the time is spent waiting for data. {self._advice}")
            self._advice = ""
        self._restart()


def advice_on_data_wait(*, workers: int, cores: int, on_accelerator: bool, augment_on: str, kind: str) -> str:
    """The lever to pull first.

    Args:
        workers: Data worker processes.
        cores: That this process may use.
        on_accelerator: Whether the network runs elsewhere than on these cores.
        augment_on: ``cpu`` or ``device``.
        kind: Of the source.
    """
    more = min(cores - 1, 2 * max(workers, 1))
    if workers < more:
        return f"Set performance.workers={more}: of {cores} cores, {workers} make batches."
    if on_accelerator and augment_on == "cpu":
        return "Set performance.augment_on=device: it halves what the workers have to do."
    if kind == "synthetic":
        return "Lower data.synthetic.size_px, or take images from files."
    gain = "cheaper to decode, and read one after the other" if kind == "folder" else "cheaper to decode"
    return (
        f"All {cores} cores are in use. Store the images smaller: `franca data pack SRC OUT resize_px=512` makes them "
        f"{gain}. Fewer local crops (data.num_local_crops) cost less, too, and are another training."
    )
