"""Work that ranks share."""

from __future__ import annotations

import pytest

from franca.errors import DataError
from franca.evaluation.spread import spread
from tests.distributed.ranks import run_ranks


def _squares(rank: int, count: int) -> list[int]:
    return spread(range(count), lambda item: item * item)


def _fail(rank: int) -> str:
    def function(item: int) -> int:
        if item == 1:
            raise DataError("one is bad")
        return item

    with pytest.raises(DataError) as caught:
        spread([0, 1, 2], function)
    return str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_order_is_that_of_the_items(count: int) -> None:
    expected = [item * item for item in range(count)]
    assert spread(range(count), lambda item: item * item) == expected
    assert run_ranks(_squares, count) == [expected, expected]


def test_an_error_is_raised_on_every_rank() -> None:
    assert run_ranks(_fail) == ["one is bad", "one is bad"]
