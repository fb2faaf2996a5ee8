"""Ranks that break off their work together, and only then."""

from __future__ import annotations

import pytest

from franca.distributed.in_step import BrokenOff, InStep
from franca.distributed.together import any_rank
from franca.errors import DataError
from tests.distributed.ranks import run_ranks


def test_alone_it_ends_after_the_piece_in_hand() -> None:
    asked = False
    with InStep(lambda: asked, 5) as in_step:
        in_step.piece_done()
        asked = True
        with pytest.raises(BrokenOff):
            in_step.piece_done()


def test_where_nobody_can_be_asked_all_pieces_are_done() -> None:
    with InStep(None, 2) as in_step:
        for _ in range(5):
            in_step.piece_done()


def pieces_done(rank: int, stop_rank: int | None, stop_after: int, fails: bool) -> tuple[int, str]:
    """How many pieces were done, and how it ended: one rank has two pieces, the other five."""
    done = 0
    try:
        with InStep(lambda: rank == stop_rank and done >= stop_after, (2, 5)[rank]) as in_step:
            for _ in range((2, 5)[rank]):
                if fails and rank == 0:
                    raise DataError("broken")
                done += 1
                in_step.piece_done()
    except (BrokenOff, DataError) as error:
        any_rank(True)  # that ranks meet here shows that none is still asking
        return done, type(error).__name__
    any_rank(False)
    return done, "done"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((None, 0, False), [(2, "done"), (5, "done")]),
        ((1, 1, False), [(1, "BrokenOff"), (1, "BrokenOff")]),
        ((0, 2, False), [(2, "BrokenOff"), (2, "BrokenOff")]),
        ((1, 4, False), [(2, "BrokenOff"), (4, "BrokenOff")]),
        ((None, 0, True), [(0, "DataError"), (5, "done")]),
    ],
)
def test_ranks_with_different_numbers_of_pieces(
    arguments: tuple[int | None, int, bool], expected: list[tuple[int, str]]
) -> None:
    assert run_ranks(pieces_done, *arguments) == expected
