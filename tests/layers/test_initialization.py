from __future__ import annotations

import torch
from torch import nn

from franca.layers.initialization import initialize


class Forgetful(nn.Module):
    """A module with a parameter that nobody draws."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.forgotten = nn.Parameter(torch.zeros(2))


def test_a_forgotten_parameter_shows_as_nan() -> None:
    module = Forgetful()
    initialize(module, seed=0)
    assert module.forgotten.isnan().all()
    assert module.linear.weight.isfinite().all()


def test_values_follow_the_seed_alone() -> None:
    with torch.device("meta"):
        first = nn.Sequential(nn.Linear(30, 50), nn.LayerNorm(50))
    second = nn.Sequential(nn.Linear(30, 50), nn.LayerNorm(50))
    initialize(first, seed=3)
    torch.manual_seed(99)
    initialize(second, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    initialize(second, seed=4)
    assert not torch.equal(first[0].weight, second[0].weight)


def test_distributions() -> None:
    module = nn.Sequential(nn.Linear(300, 200), nn.Conv2d(3, 64, 10), nn.LayerNorm(7))
    initialize(module, seed=0)
    linear, conv, norm = module
    assert abs(linear.weight.std().item() - 0.02) < 5e-4
    assert not linear.bias.any()
    bound = 300**-0.5
    assert 0.98 * bound < conv.weight.abs().max().item() <= bound
    assert 0.5 * bound < conv.bias.abs().max().item() <= bound
    assert norm.weight.eq(1).all()
    assert not norm.bias.any()


def test_frozen_parameters_stay_frozen() -> None:
    with torch.device("meta"):
        module = nn.Linear(2, 2).requires_grad_(False)
    initialize(module, seed=0)
    assert not module.weight.requires_grad
