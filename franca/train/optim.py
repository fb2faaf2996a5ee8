"""AdamW: which parameter gets which share of the learning rate and of the weight decay."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass

import torch
from torch import nn

from franca.objective.network import Network
from franca.train.schedules import Rates


@dataclass(frozen=True)
class Share:
    """What a group of parameters takes of the rates."""

    learning_rate_multiplier: float
    weight_decay_multiplier: float
    is_backbone: bool
    is_prototypes: bool


def parameter_share(name: str, *, depth: int, patch_embed_multiplier: float = 1.0, layer_decay: float = 1.0) -> Share:
    """The share of the parameter called ``name`` in a `Network`.

    Biases, norms and layer scales do not decay; the patch embedding learns slower; with layer decay, every block
    learns slower than the one above it, and what comes before the blocks slowest.

    Source: Franca 1.5, DINOv2.
    """
    decays = not (name.endswith("bias") or "norm" in name or "gamma" in name)
    learning_rate = 1.0
    if name.startswith("backbone."):
        block = re.match(r"backbone\.blocks\.(\d+)\.", name)
        is_last = name.startswith("backbone.norm")
        layer = int(block.group(1)) + 1 if block else (depth + 1 if is_last else 0)
        learning_rate = layer_decay ** (depth + 1 - layer)
    if "patch_embed" in name:
        learning_rate *= patch_embed_multiplier
    return Share(
        learning_rate,
        float(decays),
        is_backbone=name.startswith("backbone."),
        is_prototypes=".prototypes." in name,
    )


def build_optimizer(
    student: Network,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    patch_embed_multiplier: float = 1.0,
    layer_decay: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW over the student, one group per share, with its state in place from the start.

    State that appears only at the first step would make a checkpoint of step 0 differ from later ones.
    """
    groups: dict[Share, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in student.named_parameters():
        share = parameter_share(
            name,
            depth=len(student.backbone.blocks),
            patch_embed_multiplier=patch_embed_multiplier,
            layer_decay=layer_decay,
        )
        groups[share].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": parameters, **asdict(share)} for share, parameters in groups.items()],
        lr=0.0,
        betas=betas,
        weight_decay=0.0,
        fused=True,
    )
    _create_state(optimizer)
    return optimizer


def _create_state(optimizer: torch.optim.Optimizer) -> None:
    """Run one step that changes nothing, then set the step counters back to zero."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for state in optimizer.state.values():
        state["step"].zero_()


def set_rates(optimizer: torch.optim.Optimizer, rates: Rates) -> None:
    """Give every group its share of the rates; what is frozen gets none."""
    for group in optimizer.param_groups:
        frozen = (group["is_prototypes"] and rates.prototypes_frozen) or (
            group["is_backbone"] and rates.backbone_frozen
        )
        group["lr"] = 0.0 if frozen else rates.learning_rate * group["learning_rate_multiplier"]
        group["weight_decay"] = rates.weight_decay * group["weight_decay_multiplier"]
