from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
)
from torch.nn.utils.prune import l1_unstructured
from torch.utils.hooks import RemovableHandle

from franca.layers.watched import is_watched, may_read_weights


def ignore(*_: Any) -> None:
    """A hook that changes nothing."""


def replace_forward(module: nn.Module) -> None:
    module.forward = module.forward  # type: ignore[method-assign]


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "forward hook": lambda module: module.register_forward_hook(ignore),
    "forward pre-hook": lambda module: module.register_forward_pre_hook(ignore),
    "backward hook": lambda module: module.register_full_backward_hook(ignore),
    "backward pre-hook": lambda module: module.register_full_backward_pre_hook(ignore),
    "a forward of its own": replace_forward,
    "compiled by itself": lambda module: module.compile(backend="eager"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("where", ["the module", "a part of it"])
def test_every_way_to_watch(way: Callable[[nn.Module], Any], where: str) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    assert not is_watched(module)
    part = module if where == "the module" else module[1][0]  # type: ignore[index]
    way(part)
    assert is_watched(module)
    assert not is_watched(module[0])
    module(torch.randn(1, 2))


@pytest.mark.parametrize(
    "register",
    [register_module_forward_hook, register_module_forward_pre_hook, register_module_full_backward_hook],
)
def test_hooks_on_all_modules(register: Callable[[Any], RemovableHandle]) -> None:
    handle = register(ignore)
    try:
        assert is_watched(nn.Linear(2, 2))
    finally:
        handle.remove()
    assert not is_watched(nn.Linear(2, 2))


def test_weights_are_read_of_plain_layers_alone() -> None:
    class Lora(nn.Linear):
        """A linear layer that may do more."""

    assert may_read_weights(nn.Linear(2, 2), nn.Linear)
    assert not may_read_weights(Lora(2, 2), nn.Linear)
    assert not may_read_weights(nn.Sequential(nn.Linear(2, 2)), nn.Linear)
    pruned = l1_unstructured(nn.Linear(2, 2), "weight", 0.5)  # masks its weights in a hook
    assert not may_read_weights(pruned, nn.Linear)


def test_a_hook_that_was_taken_away() -> None:
    module = nn.Linear(2, 2)
    module.register_forward_hook(ignore).remove()
    assert not is_watched(module)
