"""What is done to a tile, by hand and compiled."""

from __future__ import annotations

import pytest
import torch

from franca.objective.chunked import Chunked
from franca.objective.tile_math import EAGER, TileMath, compiled
from tests.objective.levels import LEVELS, errors, find

GENERATOR = torch.Generator().manual_seed(0)
TILE, U, V = torch.randn(5, 7, generator=GENERATOR), torch.randn(5, generator=GENERATOR), torch.randn(7)


def check(math: TileMath) -> None:
    torch.testing.assert_close(math.log_sum_rows(TILE, U), (TILE + U[:, None]).exp().sum(dim=0).log())
    torch.testing.assert_close(math.log_sum_columns(TILE, V), (TILE + V).exp().sum(dim=1).log())
    torch.testing.assert_close(math.log_sum_columns(TILE, None), TILE.exp().sum(dim=1).log())
    soft = math.soften(TILE.clone(), V, U, torch.bfloat16)
    torch.testing.assert_close(soft, (TILE + V - U[:, None]).exp().bfloat16())
    torch.testing.assert_close(math.soften(TILE.clone(), None, U, torch.float32), (TILE - U[:, None]).exp())


def test_by_hand() -> None:
    check(EAGER)


def test_far_from_zero_nothing_overflows() -> None:
    assert torch.equal(
        EAGER.log_sum_columns(torch.tensor([[-1e4, -1e4], [1e4, -1e4]]), None).isfinite(), torch.ones(2) > 0
    )


@pytest.mark.slow
def test_compiled_is_the_same_for_all_sizes() -> None:
    check(compiled())
    for level in LEVELS.values():
        for chunk_bytes in (200_000, 50_000):
            found, expected = (find(Chunked(chunk_bytes, c), level.to(torch.float32)) for c in (True, False))
            assert max(errors(found, expected).values()) < 1e-5
    assert compiled() is compiled()
