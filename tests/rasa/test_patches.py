from __future__ import annotations

import pytest
import torch

from franca.rasa.patches import split_images
from tests.rasa.factory import planted

CPU = torch.device("cpu")


def test_every_image_is_on_one_side() -> None:
    table, _ = planted(num_images=30)
    train, held_out = split_images(table, 0.2, 0, CPU)
    assert (len(train), len(held_out)) == (24, 6)
    assert sorted(train.images.tolist() + held_out.images.tolist()) == list(range(30))
    assert not torch.equal(split_images(table, 0.2, 1, CPU)[1].images, held_out.images)


@pytest.mark.parametrize("share", [0.01, 0.9])
def test_two_images_are_one_each(share: float) -> None:
    train, held_out = split_images(planted(num_images=2)[0], share, 0, CPU)
    assert len(train) == len(held_out) == 1


def test_batches_hold_the_patches_of_the_table() -> None:
    table, _ = planted(num_images=10)
    train, _ = split_images(table, 0.2, 0, CPU)
    expected = table.patches[train.images].flatten(1, 2)
    torch.testing.assert_close(torch.cat(list(train.all())), expected)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat(list(train.shuffled(3, generator))) for _ in range(2))
    assert not torch.equal(first, second) and not torch.equal(first, expected)
    for epoch in (first, second):
        torch.testing.assert_close(epoch.sum((1, 2)).sort().values, expected.sum((1, 2)).sort().values)
    assert [len(batch) for batch in train.shuffled(3, generator)] == [3, 3, 2]


def test_half_precision_is_read_as_floats() -> None:
    table, _ = planted(num_images=4)
    half = type(table).of(table.patches.half())
    assert next(split_images(half, 0.5, 0, CPU)[0].all()).dtype == torch.float32
