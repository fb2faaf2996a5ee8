"""Which training images are set aside."""

from __future__ import annotations

import pytest
import torch

from franca.errors import DataError
from franca.evaluation.held_out import held_out_rows


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_held_out_images_are_of_every_class(fraction: float) -> None:
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 2 + [3])
    held_out = held_out_rows(labels, fraction, seed=1)
    counts = [int(held_out[labels == label].sum()) for label in range(4)]
    assert counts == [round(50 * fraction), round(10 * fraction), 1, 0]
    assert not torch.equal(held_out, held_out_rows(labels, fraction, seed=2))


def test_one_image_per_class_cannot_be_split() -> None:
    with pytest.raises(DataError, match="one image per class"):
        held_out_rows(torch.arange(5), 0.1, seed=0)
