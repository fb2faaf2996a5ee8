"""One progress bar over several pieces of work of about equal length."""

from __future__ import annotations

from franca.evaluation.subject import Progress


class Stages:
    """Counts the steps of pieces that come one after the other.

    Args:
        progress: Called after every step; None counts for nobody.
        name: Of the bar.
        num_pieces: How many there are.
        steps_each: The most that a piece takes. One that ends earlier counts as whole.
    """

    def __init__(self, progress: Progress | None, name: str, num_pieces: int, steps_each: int) -> None:
        self._progress, self._name, self._total = progress, name, num_pieces * steps_each
        self._steps_each, self._done = steps_each, 0

    def step(self) -> None:
        """A step of the piece in hand is done."""
        self._tell(self._done + 1)

    def end_piece(self) -> None:
        """The piece in hand is done, in fewer steps than it might have taken or in all of them."""
        self._tell(-(-self._done // self._steps_each) * self._steps_each)

    def end(self) -> None:
        """All is done: pieces that were foreseen are not needed."""
        self._tell(self._total)

    def _tell(self, done: int) -> None:
        self._done = done
        if self._progress is not None:
            self._progress(self._name, done, self._total)
