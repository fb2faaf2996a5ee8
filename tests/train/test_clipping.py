"""Clipping by part and by the whole, against norms worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from franca.objective.network import Network
from franca.train.clipping import Clip
from tests.objective.factory import make_network


def network_with_gradients() -> Network:
    network = make_network(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    for parameter in network.heads["ibot"].parameters():
        assert parameter.grad is not None
        parameter.grad *= 1e-4  # this part stays under the limit
    return network


def norms_of(network: Network) -> dict[str, Tensor]:
    return {
        name: torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None]).norm()
        for name, part in network.parts().items()
    }


def test_each_part_is_clipped_by_its_own_norm() -> None:
    network = network_with_gradients()
    before = norms_of(network)
    found = Clip(3.0)(network)
    for name, norm in found.parts.items():
        torch.testing.assert_close(norm, before[name])
    after = norms_of(network)
    torch.testing.assert_close(after["backbone"], torch.tensor(3.0))
    torch.testing.assert_close(after["dino_head"], torch.tensor(3.0))
    torch.testing.assert_close(after["ibot_head"], before["ibot_head"])


def test_one_norm_scales_all_parts_alike() -> None:
    network = network_with_gradients()
    before = norms_of(network)
    found = Clip(3.0, per_part=False)(network)
    torch.testing.assert_close(found.total, torch.stack(list(before.values())).norm())
    for name, norm in norms_of(network).items():
        torch.testing.assert_close(norm, before[name] * 3.0 / found.total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("limit", [0.0, 1e9])
def test_no_limit_leaves_gradients_alone(limit: float) -> None:
    network = network_with_gradients()
    before = norms_of(network)
    Clip(limit)(network)
    assert norms_of(network) == before
