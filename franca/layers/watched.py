"""Whether anybody looks at what happens inside a module, has put another one into its place, or records it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook


def is_watched(module: nn.Module) -> bool:
    """Whether a module or a part of it has hooks, a ``forward`` of the user's own, or was compiled by itself.

    What computes less than the whole output of ``module`` asks this first: a hook that was set to see every token
    has to see every token, one on all modules of the process too. Sharding and LoRA are hooks and parts of other types;
    other types are not looked for here.
    """
    return bool(_has_any_global_hook()) or any(_is_watched_itself(part) for part in module.modules())


def may_read_weights(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer's product may be computed from its weights, without calling the layer.

    LoRA, quantised, pruned and parametrised layers are of other types or have hooks, and must be called.
    """
    return type(layer) is kind and not is_watched(layer)


def is_traced() -> bool:
    """Whether ``torch.jit.trace`` records; it compares passes with and without gradients, which have to be the same."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def _is_watched_itself(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module) or module._compiled_call_impl is not None
