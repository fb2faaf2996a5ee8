"""KoLeo against loops, and its extremes."""

from __future__ import annotations

import math

import torch

from franca.objective.koleo import koleo_loss


def test_against_loops() -> None:
    x = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = []
    for group in x:
        unit = group / group.norm(dim=1, keepdim=True)
        nearest = [min((unit[i] - unit[j]).norm().item() for j in range(5) if j != i) for i in range(5)]
        expected.append(-sum(math.log(distance) for distance in nearest) / 5)
    torch.testing.assert_close(koleo_loss(x), torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_equal_embeddings_stay_finite_with_their_gradient() -> None:
    x = torch.ones(1, 4, 8, requires_grad=True)
    loss = koleo_loss(x).sum()
    loss.backward()
    assert loss.isfinite() and x.grad is not None and x.grad.isfinite().all()


def test_half_precision_input_is_computed_in_fp32() -> None:
    x = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        loss = koleo_loss(x.bfloat16())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, koleo_loss(x.bfloat16().float()))


def test_autocast_does_not_confuse_neighbours() -> None:
    angles = torch.tensor([0.0, 0.02, 0.03])
    points = torch.stack([angles.cos(), angles.sin()], dim=1)[None]  # in bf16 all three similarities are 1
    expected = koleo_loss(points)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(koleo_loss(points), expected)


def test_moving_apart_lowers_it() -> None:
    near, far = torch.eye(4)[None] + 5, torch.eye(4)[None]
    assert koleo_loss(far) < koleo_loss(near)
