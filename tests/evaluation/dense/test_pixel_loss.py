"""Losses of pixels against doing it the long way."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from franca.evaluation.dense import pixel_loss as module
from franca.evaluation.dense.pixel_loss import Lattice, pixel_loss


@pytest.mark.parametrize("most", [1, 1 << 12, 1 << 30])
def test_loss_and_gradient_are_those_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setitem(module.MAX_LOGITS, "cpu", most)
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(5, (4, 12, 20), generator=generator).to(torch.uint8)
    masks[0, :7] = 255
    logits = torch.randn(4, 5, 3, 5, generator=generator, requires_grad=True)
    enlarged = interpolate(logits, size=(12, 20), mode="bilinear")
    expected = cross_entropy(enlarged, masks.long(), ignore_index=255)
    found = pixel_loss(logits, masks, Lattice())
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], gradient, atol=1e-7, rtol=1e-5)


def test_a_batch_without_labels_teaches_nothing() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = pixel_loss(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8), Lattice())
    assert float(loss.detach()) == 0 and not torch.autograd.grad(loss, logits)[0].any()


@pytest.mark.parametrize("lattice", [Lattice(), Lattice(3, 2, 1), Lattice(4, 0, 3), Lattice(7, 5, 6)])
def test_a_lattice_is_what_it_takes_of_the_whole(lattice: Lattice) -> None:
    logits = torch.randn(2, 3, 4, 5)
    whole = interpolate(logits, size=(13, 22), mode="bilinear", align_corners=False)
    expected = whole[:, :, lattice.top :: lattice.stride, lattice.left :: lattice.stride]
    torch.testing.assert_close(lattice.enlarged(logits, (13, 22)), expected, atol=1e-6, rtol=1e-5)
    masks = torch.randint(3, (2, 13, 22)).to(torch.uint8)
    assert lattice.of(masks).shape == (2, *expected.shape[2:])
    loss = cross_entropy(expected, lattice.of(masks).long())
    assert float(pixel_loss(logits, masks, lattice)) == pytest.approx(float(loss), rel=1e-5)


def test_every_corner_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = {(lattice.top, lattice.left) for lattice in (Lattice.drawn(3, generator) for _ in range(200))}
    assert drawn == {(top, left) for top in range(3) for left in range(3)}
