"""Sums over strips against sums over the whole matrix."""

from __future__ import annotations

import pytest
import torch

from franca.objective.logits import Logits
from franca.objective.strips import HeldStrip, TiledStrips, log_normalizers
from franca.objective.tiles import Cut

GENERATOR = torch.Generator().manual_seed(0)
ROWS, WEIGHT, U, V = (torch.randn(*shape, generator=GENERATOR).double() for shape in ((9, 6), (17, 6), (9,), (17,)))
LOGITS = Logits(ROWS, WEIGHT, 0.05, torch.float64)
CUTS = [Cut(rows=9, columns=17), Cut(rows=20, columns=5), Cut(rows=4, columns=5), Cut(rows=1, columns=1)]


@pytest.mark.parametrize("cut", CUTS)
def test_strips_together_sum_the_whole(cut: Cut) -> None:
    strips, matrix = list(TiledStrips(LOGITS, cut)), LOGITS.matrix()
    assert [i for strip in strips for i in range(17)[strip.columns]] == list(range(17))
    over_rows = torch.cat([strip.over_rows(U) for strip in strips])
    torch.testing.assert_close(over_rows, torch.logsumexp(matrix + U[:, None], dim=0))
    over_columns = torch.stack([strip.over_columns(V[strip.columns]) for strip in strips]).logsumexp(dim=0)
    torch.testing.assert_close(over_columns, torch.logsumexp(matrix + V, dim=1))
    torch.testing.assert_close(log_normalizers(strips, 9, like=ROWS), torch.logsumexp(matrix, dim=1))


@pytest.mark.parametrize("cut", CUTS)
def test_without_rows_a_prototype_has_minus_infinity(cut: Cut) -> None:
    for strip in TiledStrips(Logits(ROWS[:0], WEIGHT, 0.05, torch.float64), cut):
        assert strip.over_rows(U[:0]).isneginf().all()
        assert strip.over_columns(V[strip.columns]).shape == (0,)


def test_a_tile_of_all_rows_is_computed_once_for_both_sums() -> None:
    rows = ROWS.clone()
    (strip,) = TiledStrips(Logits(rows, WEIGHT, 0.05, torch.float64), Cut(rows=9, columns=17))
    strip.over_rows(U)
    rows.zero_()  # what is computed from now on is not what was
    torch.testing.assert_close(strip.over_columns(V), HeldStrip(LOGITS.matrix()).over_columns(V))


def test_a_held_matrix_is_one_strip() -> None:
    assert HeldStrip(LOGITS.matrix()).columns == slice(0, 17)
