from __future__ import annotations

import pytest
import torch
from torch import Tensor

from franca.layers.packing import Group, Layout, pack, unpack
from franca.layers.stochastic_depth import add_branch, draw_kept, num_kept

CPU = torch.device("cpu")
LAYOUT = (Group(10, 3), Group(7, 2))


def kept_sequences(layout: Layout, rate: float, key: tuple[int, ...]) -> list[set[int]]:
    """Which sequences of each group take part, read off a branch of ones."""
    table, _ = pack([torch.zeros(group.num_sequences, group.length, 1) for group in layout])
    out = add_branch(table, layout, lambda x, _: torch.ones_like(x), draw_kept(layout, rate, key, CPU))
    groups = unpack(out, layout)
    assert all(torch.equal(group, group[:, :1].expand_as(group)) for group in groups)
    return [set(group[:, 0, 0].nonzero().flatten().tolist()) for group in groups]


@pytest.mark.parametrize(("n", "rate", "kept"), [(10, 0.1, 9), (10, 0.35, 6), (1, 0.9, 1), (7, 0.0, 7), (3, 0.99, 1)])
def test_number_kept(n: int, rate: float, kept: int) -> None:
    assert num_kept(n, rate) == kept


def test_only_kept_sequences_are_computed_and_scaled() -> None:
    table, layout = pack([torch.randn(10, 3, 4), torch.randn(7, 2, 4)])
    seen: list[Layout] = []

    def double(x: Tensor, inner: Layout) -> Tensor:
        seen.append(inner)
        return 2 * x

    kept = draw_kept(layout, 0.4, (5, 0, 0), CPU)
    out = add_branch(table, layout, double, kept)
    assert seen == [(Group(6, 3), Group(4, 2))]
    for before, after, group in zip(unpack(table, layout), unpack(out, layout), (6, 4), strict=True):
        factor = after / before
        scaled = 1 + 2 * before.shape[0] / group
        touched = (factor - 1).abs().amax(dim=(1, 2)) > 1e-3
        assert touched.sum() == group
        torch.testing.assert_close(factor[touched], torch.full_like(factor[touched], scaled), rtol=1e-3, atol=1e-3)
        assert torch.equal(after[~touched], before[~touched])


def test_gradient_equals_the_masked_sum() -> None:
    table = torch.randn(44, 4, dtype=torch.float64, requires_grad=True)
    kept = draw_kept(LAYOUT, 0.4, (1, 2, 3), CPU)
    mask = torch.zeros(44, 1, dtype=torch.float64)
    mask[kept.rows] = kept.scale.double()
    (ours,) = torch.autograd.grad(add_branch(table, LAYOUT, lambda x, _: x.sin(), kept).cos().sum(), table)
    (plain,) = torch.autograd.grad((table + mask * table.sin()).cos().sum(), table)
    torch.testing.assert_close(ours, plain)


def test_the_draw_is_a_function_of_the_key() -> None:
    torch.manual_seed(0)
    first = kept_sequences(LAYOUT, 0.5, (7, 1, 0))
    torch.manual_seed(1)
    assert kept_sequences(LAYOUT, 0.5, (7, 1, 0)) == first
    others = [kept_sequences(LAYOUT, 0.5, key) for key in ((8, 1, 0), (7, 2, 0), (7, 1, 1))]
    assert all(other != first for other in others)


def test_groups_of_equal_size_draw_apart_and_all_sequences_take_turns() -> None:
    layout = (Group(20, 1), Group(20, 1))
    draws = [kept_sequences(layout, 0.5, (seed, 0, 0)) for seed in range(40)]
    assert any(first != second for first, second in draws)
    assert set.union(*(first for first, _ in draws)) == set(range(20))
    share = sum(0 in first for first, _ in draws) / 40
    assert 0.2 < share < 0.8
