"""How far a step of AdamW moved the weights, read from the optimizer's state: no copy of the weights is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from franca.distributed.reduce import sum_over_ranks
from franca.distributed.shards import local
from franca.objective.network import Network


@torch.no_grad()
def update_ratios(network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """|update| / |weights| of every part of the network, for the last step that was applied.

    Each rank adds up its shards; an element that several ranks hold counts as often above as below.

    Args:
        network: The student, after the step.
        optimizer: AdamW over it, with the rates of the step.
    """
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    parts = network.parts()
    squares = [_squares(part, optimizer.state, groups) for part in parts.values()]
    moved, weights = sum_over_ranks(torch.stack(squares)).sqrt().unbind(dim=1)
    return dict(zip(parts, moved / weights, strict=True))


def _squares(part: nn.Module, state: Mapping[Tensor, Any], groups: Mapping[int, Mapping[str, Any]]) -> Tensor:
    """Sums of the squares of update and weights, [2]."""
    sums = []
    for parameter in part.parameters():
        weight = local(parameter)
        update = _update(weight, state[parameter], groups[id(parameter)])
        sums.append(torch.stack([update.square().sum(), weight.square().sum()]))
    return torch.stack(sums).sum(dim=0)


def _update(weight: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> Tensor:
    """What the last step added: w' = (1 - rate decay) w - rate step, solved for w' - w."""
    (beta1, beta2), count = group["betas"], state["step"]
    mean: Tensor = local(state["exp_avg"]) / (1 - beta1**count)
    size = (local(state["exp_avg_sq"]) / (1 - beta2**count)).sqrt_().add_(group["eps"])
    rate, decay = group["lr"], group["weight_decay"]
    return mean.div_(size).add_(weight, alpha=decay).mul_(-rate / (1 - rate * decay))
