"""Logits by tiles, and the gradient through normalisation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from franca.objective.logits import Logits, product_dtype, sum_dtype, unit, unit_backward

GENERATOR = torch.Generator().manual_seed(0)
ROWS, WEIGHT = torch.randn(9, 6, generator=GENERATOR), torch.randn(7, 6, generator=GENERATOR)


def test_a_tile_is_that_part_of_the_matrix() -> None:
    logits = Logits(ROWS, WEIGHT, 0.1, torch.float32)
    expected = ROWS @ (WEIGHT / WEIGHT.norm(dim=1, keepdim=True)).T / 0.1
    torch.testing.assert_close(logits.matrix(), expected)
    tile = logits.tile(slice(2, 5), logits.directions(slice(1, 4)))
    torch.testing.assert_close(tile, expected[2:5, 1:4])


def test_full_precision_is_not_lowered_by_autocast() -> None:
    logits = Logits(ROWS, WEIGHT, 0.01, torch.float32)
    expected = logits.matrix()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(logits.matrix(), expected)


def test_lower_precision_is_that_of_the_factors_and_comes_out_in_fp32() -> None:
    found = Logits(ROWS, WEIGHT, 0.1, torch.bfloat16).matrix()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, F.linear(ROWS.bfloat16(), unit(WEIGHT).bfloat16()).float() / 0.1)


@pytest.mark.parametrize(
    ("given", "sums"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)]
)
def test_sums_are_fp32_or_more_and_products_follow_autocast(given: torch.dtype, sums: torch.dtype) -> None:
    tensor = torch.zeros(1, dtype=given)
    assert sum_dtype(tensor) == sums and product_dtype(tensor) == sums
    with torch.autocast("cpu", torch.bfloat16):
        assert product_dtype(tensor) == torch.bfloat16


def test_the_gradient_of_the_unit_vector_is_that_of_autograd_also_for_a_zero_row() -> None:
    weight = WEIGHT.double().clone()
    weight[3] = 0
    weight.requires_grad_()
    gradient = torch.randn(7, 6, generator=GENERATOR, dtype=torch.float64)
    (expected,) = torch.autograd.grad(unit(weight), weight, gradient)
    torch.testing.assert_close(unit_backward(weight.detach(), gradient), expected)
