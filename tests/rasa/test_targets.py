from __future__ import annotations

import pytest
import torch

from franca.errors import DataError
from franca.rasa.targets import positions


def test_by_hand() -> None:
    assert positions((2, 3)).tolist() == [[0, 0], [0, 0.5], [0, 1], [1, 0], [1, 0.5], [1, 1]]


def test_a_single_row_or_column_tells_nothing() -> None:
    assert positions((1, 3)).tolist() == [[0], [0.5], [1]]
    assert positions((2, 1)).tolist() == [[0], [1]]


def test_the_mean_is_the_middle() -> None:
    torch.testing.assert_close(positions((5, 7)).mean(0), torch.tensor([0.5, 0.5]).double())


def test_a_single_patch() -> None:
    with pytest.raises(DataError, match="single patch"):
        positions((1, 1))
