"""Long work in pieces that ranks break off together."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from franca.distributed.together import any_rank, gather
from franca.errors import FrancaError

ShouldStop = Callable[[], bool]


class BrokenOff(FrancaError):
    """Work was given up between two pieces, because a rank was asked to stop."""

    exit_code = 1


class InStep:
    """A context for pieces of work, of which ranks have different numbers; every rank must enter it.

    After each piece all ranks settle whether one of them was asked to stop, and those that have no pieces left go on
    answering until all are done.

    Args:
        should_stop: Whether this rank was asked; None = nobody can be, and no rank waits for another.
        num_pieces: Of this rank.
    """

    def __init__(self, should_stop: ShouldStop | None, num_pieces: int) -> None:
        self._should_stop = should_stop
        self._rounds = 0 if should_stop is None else max(gather(num_pieces))

    def __enter__(self) -> InStep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Exception):  # what ends the process at once waits for nobody
            while self._rounds:
                self.piece_done()

    def piece_done(self) -> None:
        """To be called after each piece.

        Raises:
            BrokenOff: A rank was asked to stop; on all ranks after the same number of pieces.
        """
        if not self._rounds:
            return
        assert self._should_stop is not None
        self._rounds -= 1
        if any_rank(self._should_stop()):
            self._rounds = 0
            raise BrokenOff("it was broken off, since a stop was asked for")
