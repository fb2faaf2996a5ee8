"""Drawing patches within a budget."""

from __future__ import annotations

import pytest
import torch

from franca.errors import DataError
from franca.evaluation.dense.sampling import (
    batches_of_this_rank,
    budget_of,
    check_same_classes,
    draw_patches,
    mask_classes,
)
from franca.features.patches import PatchTable
from tests.evaluation.dense.subjects import painted, table_of


def numbered(num_images: int = 40, grid: tuple[int, int] = (3, 4)) -> PatchTable:
    """Patches whose first dimension is their image, and whose second is their place."""
    image = torch.arange(num_images, dtype=torch.float32)[:, None, None].expand(-1, *grid)
    place = torch.arange(grid[0] * grid[1], dtype=torch.float32).view(grid).expand(num_images, -1, -1)
    return table_of(torch.stack([image, place], dim=-1))


@pytest.mark.parametrize("budget", [40, 80, 100, 479])
def test_each_image_gives_the_same_number_up_to_one(budget: int) -> None:
    drawn = draw_patches(numbered(), budget, seed=0)
    counts = drawn.patches[:, 0].long().bincount(minlength=40)
    assert len(drawn.patches) == budget and not drawn.is_whole
    assert counts.max() - counts.min() <= 1
    assert len({tuple(row) for row in drawn.patches.tolist()}) == budget  # none twice


def test_fewer_than_images_come_from_all_over() -> None:
    images = draw_patches(numbered(), 4, seed=0).patches[:, 0].tolist()
    assert images == [9, 19, 29, 39]


def test_everything_fits() -> None:
    drawn = draw_patches(numbered(), 10_000, seed=0)
    assert drawn.is_whole and torch.equal(drawn.patches, numbered().patches.flatten(0, 2))


def test_seeds_repeat_and_differ() -> None:
    one, again, other = (draw_patches(numbered(), 100, seed=seed).patches for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_only_labelled_patches_are_drawn_with_their_shares() -> None:
    masks, classes = painted(6, seed=0)
    table = table_of(torch.nn.functional.one_hot(classes.clamp(max=3), 4).float(), masks)
    drawn = draw_patches(table, 10_000, seed=0, num_classes=3)
    assert drawn.is_whole and len(drawn.patches) == int((classes != 255).sum())
    assert drawn.votes is not None
    assert torch.equal(drawn.votes, drawn.patches[:, :3])
    mixed = masks.clone()
    mixed[:, :2] = 255  # half of the pixels of the upper patches
    shares = draw_patches(table_of(table.patches, mixed), 10_000, seed=0, num_classes=3).votes
    assert shares is not None and torch.equal(shares, drawn.votes)


def test_nothing_labelled() -> None:
    table = table_of(torch.zeros(2, 3, 4, 2), torch.full((2, 6, 8), 255, dtype=torch.uint8))
    with pytest.raises(DataError, match="no patch has a labelled pixel"):
        draw_patches(table, 10, seed=0, num_classes=3)


def test_budgets() -> None:
    assert budget_of(1.0, 256) == 1024
    assert budget_of(0.0001, 10_000) == 1


def test_one_process_reads_all() -> None:
    assert [batch.first for batch in batches_of_this_rank(numbered())] == [0, 16, 32]


def test_classes_of_masks() -> None:
    masks, _ = painted(2, seed=0)
    table, other = (table_of(torch.zeros(2, 4, 6, 2), masks, names) for names in ("abc", "abd"))
    assert mask_classes(table, table) == ("a", "b", "c")
    with pytest.raises(DataError, match=r"train= has 3 \(a, b, c …\), val= has 3 \(a, b, d …\)"):
        mask_classes(table, other)
    with pytest.raises(DataError, match="these images have no masks"):
        mask_classes(numbered())
    with pytest.raises(DataError, match="val= has none"):
        check_same_classes(("a",), ())
