from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from franca.data.masking import MaskPlan, cyclic_mask

ASPECT = (0.3, 1 / 0.3)


def mask_plan(**changes: object) -> MaskPlan:
    settings: dict[str, object] = {
        "grid": (8, 8), "global_batch": 32, "seed": 0, "probability": 0.5, "ratio": (0.1, 0.65), "aspect": ASPECT,
        "roll": True,
    }  # fmt: skip
    return MaskPlan(**(settings | changes))  # type: ignore[arg-type]


@given(
    grid=st.tuples(st.integers(1, 24), st.integers(1, 24)), share=st.floats(0, 1), roll=st.booleans(),
    seed=st.integers(0, 1000), aspect=st.tuples(st.floats(0.05, 1), st.floats(1, 20)),
)  # fmt: skip
def test_hides_exactly_as_many_as_asked(
    grid: tuple[int, int], share: float, roll: bool, seed: int, aspect: tuple[float, float]
) -> None:
    num_masked = min(int(share * grid[0] * grid[1]), grid[0] * grid[1] - 1)
    mask = cyclic_mask(grid, num_masked, aspect=aspect, roll=roll, rng=np.random.default_rng(seed))
    assert mask.shape == grid
    assert mask.sum() == num_masked


@pytest.mark.parametrize("grid", [(16, 16), (5, 9)])
def test_every_count_is_exact_on_a_grid(grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for num_masked in range(grid[0] * grid[1]):
        for _ in range(20):
            assert cyclic_mask(grid, num_masked, aspect=ASPECT, roll=True, rng=rng).sum() == num_masked


def test_without_roll_the_visible_patches_are_one_block() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        visible = ~cyclic_mask((16, 16), 156, aspect=ASPECT, roll=False, rng=rng)  # 100 visible
        rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 100 <= height * width <= 100 + height + width
        assert len(rows) == height
        assert len(columns) == width


def test_a_square_block_by_hand() -> None:
    class Fixed:
        def random(self, count: int) -> np.ndarray:
            return np.array([0.5, 0.75, 0.25])[:count]  # aspect 1, three quarters down, a quarter right

    mask = cyclic_mask((4, 4), 12, aspect=(0.5, 2.0), roll=True, rng=Fixed())  # type: ignore[arg-type]
    expected = np.ones((4, 4), bool)
    expected[np.ix_([3, 0], [1, 2])] = False  # rows wrap around
    assert np.array_equal(mask, expected)
    mask = cyclic_mask((4, 4), 12, aspect=(0.5, 2.0), roll=False, rng=Fixed())  # type: ignore[arg-type]
    expected = np.ones((4, 4), bool)
    expected[np.ix_([2, 3], [0, 1])] = False
    assert np.array_equal(mask, expected)


def test_block_aspects_cover_the_range() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(400):
        visible = ~cyclic_mask((20, 20), 336, aspect=ASPECT, roll=False, rng=rng)  # 64 visible
        ratios.append(visible.any(1).sum() / visible.any(0).sum())
    assert min(ratios) < 0.45
    assert max(ratios) > 2.2
    assert abs(np.median(np.log(ratios))) < 0.25


@pytest.mark.parametrize(("roll", "spread"), [(True, 0.06), (False, 0.3)])
def test_only_the_roll_shows_every_patch_equally_often(roll: bool, spread: float) -> None:
    rng = np.random.default_rng(0)
    masks = [cyclic_mask((8, 8), 40, aspect=ASPECT, roll=roll, rng=rng) for _ in range(6000)]
    visibility = 1 - np.mean(masks, axis=0)
    deviation = np.abs(visibility / visibility.mean() - 1).max()
    assert deviation < spread if roll else deviation > spread


def test_a_step_masks_an_exact_share_spread_evenly_over_the_ratios() -> None:
    plan = mask_plan(grid=(20, 20))
    for step in range(3):
        hidden = plan.masks(step * 32 + np.arange(32)).sum(1)
        counts = np.sort(hidden[hidden > 0])
        edges = np.linspace(0.1, 0.65, 33) * 400
        assert len(counts) == 32  # half of the 64 crops
        assert (counts >= np.floor(edges[:-1])).all()
        assert (counts <= edges[1:]).all()


def test_a_mask_depends_on_its_position_alone() -> None:
    plan = mask_plan()
    whole = plan.masks(np.arange(32, 64)).reshape(2, 32, 64)
    parts = [plan.masks(np.arange(start, start + 8)).reshape(2, 8, 64) for start in range(32, 64, 8)]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))


def test_views_steps_and_seeds_differ() -> None:
    first, second = mask_plan(probability=1).masks(np.arange(32)).reshape(2, 32, 64)
    assert not (first == second).all(1).any()
    assert not np.array_equal(mask_plan().masks(np.arange(32)), mask_plan().masks(np.arange(32, 64)))
    assert not np.array_equal(mask_plan().masks(np.arange(32)), mask_plan(seed=1).masks(np.arange(32)))


def test_which_crops_are_masked_changes_with_the_step() -> None:
    masked = np.stack([mask_plan().masks(step * 32 + np.arange(32)).any(1) for step in range(100)])
    share = masked.mean(0)
    assert share.min() > 0.25
    assert share.max() < 0.75


@pytest.mark.parametrize(("probability", "num_masked"), [(0, 0), (0.3, 19), (1, 64)])
def test_probability_sets_the_number_of_masked_crops(probability: float, num_masked: int) -> None:
    assert mask_plan(probability=probability).masks(np.arange(32)).any(1).sum() == num_masked


def test_at_least_one_patch_stays_visible() -> None:
    masks = mask_plan(grid=(2, 2), probability=1, ratio=(1.0, 1.0)).masks(np.arange(32))
    assert (masks.sum(1) == 3).all()
