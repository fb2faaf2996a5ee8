"""Whether anybody looks at what happens inside a module."""

from __future__ import annotations

from torch import nn


def is_watched(module: nn.Module) -> bool:
    """Whether a module or a part of it has hooks, a ``forward`` of the user's own, or was compiled by itself.

    What computes less than the whole output of ``module`` asks this first: a hook that was set to see every token
    has to see every token. Sharding and LoRA are hooks and parts of other types; other types are not looked for here.
    """
    return any(_is_watched_itself(part) for part in module.modules())


def _is_watched_itself(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module) or module._compiled_call_impl is not None
