"""The map against its formula, and what makes it an orthogonal projector."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d, linear

from franca.models.projector import Projector, orthonormalise, remove


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_by_hand() -> None:
    """Off the diagonal of the first two axes, the mean of the two stays out."""
    projector = Projector.removing(torch.tensor([[2.0, 2.0, 0.0]]))
    expected = torch.tensor([[-1.0, 1.0, 5.0]])
    torch.testing.assert_close(projector(torch.tensor([[2.0, 4.0, 5.0]])), expected)


@pytest.mark.parametrize("num", [0, 1, 6])
def test_it_is_an_orthogonal_projector(num: int) -> None:
    directions = draw(num, 16)
    projector = Projector.removing(directions)
    matrix = projector.matrix
    assert matrix.dtype == torch.float64
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_rank(matrix) == projector.rank == 16 - num
    assert (directions.double() @ matrix).abs().max() < 1e-12 if num else torch.equal(matrix, torch.eye(16).double())


def test_tokens_are_multiplied_by_its_matrix() -> None:
    projector, tokens = Projector.removing(draw(4, 16)), draw(2, 3, 16, seed=1)
    torch.testing.assert_close(projector(tokens), (tokens.double() @ projector.matrix).float())
    assert projector(tokens.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(projector(tokens.double()), tokens.double() @ projector.matrix, rtol=0, atol=1e-12)


def test_directions_that_add_nothing() -> None:
    directions = draw(3, 16)
    again = torch.cat([directions, directions.sum(0, keepdim=True), torch.zeros(1, 16), directions * 1e-9])
    torch.testing.assert_close(Projector.removing(again).matrix, Projector.removing(directions).matrix)
    assert Projector.removing(again).rank == 13


def test_nearly_parallel_directions_stay_orthonormal() -> None:
    first = draw(1, 64)
    basis = orthonormalise(first + 1e-4 * draw(8, 64, seed=1), against=torch.zeros(0, 64, dtype=torch.float64))
    torch.testing.assert_close(basis @ basis.T, torch.eye(8).double(), rtol=0, atol=1e-12)


def test_further_directions_keep_the_first() -> None:
    first = Projector.removing(draw(2, 16))
    both = first.further(draw(2, 16, seed=1))
    assert torch.equal(both.basis[:2], first.basis)
    torch.testing.assert_close(both.matrix, Projector.removing(torch.cat([draw(2, 16), draw(2, 16, seed=1)])).matrix)


def test_folded_into_a_linear_layer() -> None:
    """The layer on projected tokens is the folded layer on raw ones; a 1x1 convolution is such a layer."""
    projector, tokens = Projector.removing(draw(4, 16)), draw(2, 5, 16, seed=1)
    weight, bias = draw(3, 16, seed=2), draw(3, seed=3)
    folded = projector.fold(weight)
    expected = linear(projector(tokens), weight, bias)
    torch.testing.assert_close(linear(tokens, folded, bias), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(linear(tokens, weight, bias), expected, atol=0.1)
    maps = conv2d(tokens.mT[..., None], folded[..., None, None], bias)
    torch.testing.assert_close(maps[..., 0].mT, expected, rtol=1e-5, atol=1e-5)


def test_autocast_leaves_nothing_behind() -> None:
    projector, tokens = Projector.removing(draw(4, 64)), draw(7, 64, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = remove(tokens, projector.basis.float())
    assert (found.double() @ projector.basis.T).abs().max() < 1e-6
