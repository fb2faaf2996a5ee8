from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from franca.layers.position_cache import MAX_GRIDS, PositionCache, may_cache


def counted(value: float) -> tuple[Callable[[], Tensor], list[float]]:
    """A function that gives a tensor, and the list of its calls."""
    calls: list[float] = []

    def resize() -> Tensor:
        calls.append(value)
        return torch.tensor([value])

    return resize, calls


def test_resizes_once_per_grid() -> None:
    cache, positions = PositionCache(), torch.randn(1, 4, 3)
    (first, first_calls), (second, second_calls) = counted(1), counted(2)
    for _ in range(3):
        assert cache.get(positions, (1, 2), first) == 1
        assert cache.get(positions, (2, 1), second) == 2
    assert (len(first_calls), len(second_calls), len(cache)) == (1, 1, 2)


@pytest.mark.parametrize(
    "other",
    [
        lambda positions: positions.data.mul_(1.001),  # which no version counter sees
        lambda positions: positions.double(),
        lambda positions: positions.bfloat16(),
        lambda positions: positions[:, :2],
        lambda positions: positions.clone().fill_(float("nan")),
    ],
)
def test_other_embeddings_are_resized_again(other: Callable[[Tensor], Tensor]) -> None:
    cache, positions = PositionCache(), torch.randn(1, 4, 3)
    cache.get(positions, (1, 2), counted(1)[0])
    cache.get(positions, (3, 3), counted(1)[0])
    resize, calls = counted(2)
    assert cache.get(other(positions), (1, 2), resize) == 2
    assert calls == [2]
    assert len(cache) == 1


def test_equal_embeddings_elsewhere_in_memory_are_the_same() -> None:
    cache, positions = PositionCache(), torch.randn(1, 4, 3)
    cache.get(positions, (1, 2), counted(1)[0])
    resize, calls = counted(2)
    assert cache.get(positions.clone(), (1, 2), resize) == 1
    assert not calls


def test_the_grid_used_longest_ago_is_dropped() -> None:
    cache, positions = PositionCache(), torch.randn(1, 4, 3)
    for rows in range(1, MAX_GRIDS + 1):
        cache.get(positions, (rows, 1), counted(rows)[0])
    cache.get(positions, (1, 1), counted(0)[0])
    cache.get(positions, (99, 1), counted(0)[0])
    assert len(cache) == MAX_GRIDS
    (first, first_calls), (second, second_calls) = counted(1), counted(2)
    cache.get(positions, (1, 1), first)
    cache.get(positions, (2, 1), second)
    assert (first_calls, second_calls) == ([], [2])


def test_copies_and_pickles_are_empty() -> None:
    cache = PositionCache()
    cache.get(torch.randn(1, 4, 3), (1, 2), counted(1)[0])
    assert len(copy.deepcopy(cache)) == len(pickle.loads(pickle.dumps(cache))) == 0
    assert len(cache) == 1
    cache.clear()
    assert len(cache) == 0


def test_only_plain_parameters_without_autograd_may_be_cached() -> None:
    parameter = nn.Parameter(torch.zeros(1, 4, 3))
    assert not may_cache(parameter)
    with torch.no_grad():
        assert may_cache(parameter)
        assert not may_cache(parameter.detach())
        assert not may_cache(nn.Parameter(parameter.to("meta")))
    with torch.inference_mode():
        assert may_cache(parameter)
