"""First values of all parameters, from one seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

STD = 0.02


@runtime_checkable
class HasParameters(Protocol):
    """A module that draws parameters of its own."""

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the parameters that the module holds itself, not those of its children."""


def reset_linear(layer: nn.Linear, generator: torch.Generator, std: float) -> None:
    """Truncated normal weights, zero bias."""
    nn.init.trunc_normal_(layer.weight, std=std, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def reset_conv(layer: nn.Conv2d, generator: torch.Generator, std: float) -> None:
    """Uniform within one over the square root of the inputs, weight and bias: torch's default, kept by DINOv2."""
    bound = 1 / math.sqrt(layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def reset_norm(layer: nn.LayerNorm, generator: torch.Generator, std: float) -> None:
    """The identity after normalisation."""
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)


RESET: dict[type[nn.Module], Callable[[Any, torch.Generator, float], None]] = {
    nn.Linear: reset_linear,
    nn.Conv2d: reset_conv,
    nn.LayerNorm: reset_norm,
}


def initialize(module: nn.Module, seed: int, *, std: float = STD) -> None:
    """Give every parameter of ``module`` its first value, as a pure function of ``seed`` whatever the device.

    Torch's linear, convolution and norm layers follow the table above; a module with parameters of its own draws
    them in ``reset_parameters(generator)``. Everything is set to NaN before, so that a parameter which nobody
    draws shows at the first step.

    Args:
        module: any module; parameters that are on the meta device are on the CPU afterwards.
        seed: of the random numbers.
        std: standard deviation of the weights of linear layers.
    """
    devices = {parameter.device for parameter in module.parameters()}
    module.to_empty(device="cpu")  # random numbers differ between kinds of devices
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(math.nan)
        for part in module.modules():
            _reset(part, generator, std)
    for device in devices - {torch.device("meta"), torch.device("cpu")}:
        module.to(device)


def _reset(part: nn.Module, generator: torch.Generator, std: float) -> None:
    """Draw the parameters that ``part`` holds itself."""
    if type(part) in RESET:
        RESET[type(part)](part, generator, std)
    elif isinstance(part, HasParameters):
        part.reset_parameters(generator)
