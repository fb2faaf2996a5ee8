"""Released heads against the authors' subtraction, token by token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.rasa.released import ReleasedHead


def state(num_earlier: int, width: int = 24, prefix: str = "") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(num_earlier)
    names = [*(f"pre_pos_layers.{index}.weight" for index in range(num_earlier)), "pos_pred.weight"]
    return {prefix + name: torch.randn(2, width, generator=generator) for name in reversed(names)}


def subtract(token: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """One round: the parts of a token along the row's direction, and along what the column's adds to it."""
    first = row / row.norm()
    second = column / column.norm()
    second = second - torch.dot(second, first) * first
    second = second / second.norm()
    return token - torch.dot(token, first) * first - torch.dot(token, second) * second


@pytest.mark.parametrize("num_earlier", [0, 8, 9, 11])
def test_the_sequential_map_is_theirs(num_earlier: int) -> None:
    tensors = state(num_earlier)
    token = torch.randn(24, generator=torch.Generator().manual_seed(99)).double()
    expected = token
    for name in [*(f"pre_pos_layers.{index}.weight" for index in range(num_earlier)), "pos_pred.weight"]:
        expected = subtract(expected, *tensors[name].double())
    head = ReleasedHead.of(tensors, source="a.pth")
    torch.testing.assert_close(head.sequential @ token, expected)
    assert head.projector.rank == 24 - 2 * (num_earlier + 1)


def test_the_difference_is_what_later_rounds_put_back() -> None:
    head = ReleasedHead.of(state(8), source="a.pth")
    assert 0.5 < head.difference <= 1.5
    assert torch.linalg.matrix_norm(head.sequential - head.sequential.T) > 0.1  # no projector
    first = head.weights[0][0].double()
    assert (first @ head.sequential).norm() > 0.01  # what comes out has a part along it again
    assert (first @ head.projector.matrix).norm() < 1e-12


def test_orthogonal_rounds_are_the_same() -> None:
    rows = torch.linalg.qr(torch.randn(24, 6, generator=torch.Generator().manual_seed(0))).Q.T.split(2)
    names = ("pre_pos_layers.0.weight", "pre_pos_layers.1.weight", "pos_pred.weight")
    assert ReleasedHead.of(dict(zip(names, rows, strict=True)), source="a.pth").difference < 1e-6


@pytest.mark.parametrize("prefix", ["", "module.", "rasa_head.", "module.rasa_head.", "head."])
def test_prefixes(prefix: str) -> None:
    found = ReleasedHead.of(state(3, prefix=prefix), source="a.pth")
    assert torch.equal(found.sequential, ReleasedHead.of(state(3), source="a.pth").sequential)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held.pop("pos_pred.weight"), "expected pre_pos_layers.0.weight"),
        (lambda held: held.pop("pre_pos_layers.1.weight"), r"found pos_pred.weight, pre_pos_layers.2.weight"),
        (lambda held: held.update({"blocks.0.weight": torch.zeros(2)}), "blocks.0.weight"),
        (lambda held: held.update({"pos_pred.weight": torch.zeros(2, 8)}), r"\[2, D\], found \[\(2, 8\), \(2, 24\)\]"),
    ],
)
def test_what_is_no_head(change: object, message: str) -> None:
    tensors = state(3)
    change(tensors)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=message):
        ReleasedHead.of(tensors, source="a.pth")
