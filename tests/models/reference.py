"""DINOv2's forward, written out once more over a state dict: one image at a time, one head at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def randomize(module: nn.Module, seed: int = 0) -> None:
    """Draw ALL parameters at random, layer scale around 0.3, so that no part of the network can hide."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "ls" in name:
                parameter.copy_(0.3 + 0.1 * noise)
            elif "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                fan_in = parameter[0].numel() if parameter.ndim > 1 and name.endswith("weight") else 4
                parameter.copy_(noise / math.sqrt(fan_in))


def forward(state: Mapping[str, Tensor], config: Mapping[str, Any], images: Tensor, masks: Tensor | None) -> Tensor:
    """Tokens [B, L, D] before the last norm, on the grid of the stored positions."""
    rows = [_one(state, config, image, None if masks is None else masks[i]) for i, image in enumerate(images)]
    return torch.stack(rows)


def norm(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    """Layer norm with eps 1e-6."""
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-6)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def _one(state: Mapping[str, Tensor], config: Mapping[str, Any], image: Tensor, mask: Tensor | None) -> Tensor:
    size = config["patch_size_px"]
    kernel, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    patches = []
    for top in range(0, image.shape[1], size):
        for left in range(0, image.shape[2], size):
            patch = image[:, top : top + size, left : left + size]
            patches.append((kernel * patch).sum(dim=(1, 2, 3)) + bias)
    x = torch.stack(patches)
    if mask is not None:
        x = torch.stack([state["mask_token"][0] if hidden else row for hidden, row in zip(mask, x, strict=True)])
    positions = state["pos_embed"][0]
    registers = state["register_tokens"][0] if config["num_registers"] else x[:0]
    x = torch.cat([state["cls_token"][0] + positions[:1], registers, x + positions[1:]])
    for index in range(config["depth"]):
        name = f"blocks.{index}"
        x = x + _scale(state, f"{name}.ls1") * _attention(
            norm(x, state, f"{name}.norm1"), state, config, f"{name}.attn"
        )
        x = x + _scale(state, f"{name}.ls2") * _ffn(norm(x, state, f"{name}.norm2"), state, config, f"{name}.mlp")
    return x


def _scale(state: Mapping[str, Tensor], name: str) -> Tensor | float:
    return state.get(f"{name}.gamma", 1.0)


def _linear(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _attention(x: Tensor, state: Mapping[str, Tensor], config: Mapping[str, Any], name: str) -> Tensor:
    width, d = x.shape[1], x.shape[1] // config["num_heads"]
    qkv = _linear(x, state, f"{name}.qkv")
    heads = []
    for head in range(config["num_heads"]):
        query, key, value = (qkv[:, part * width + head * d :][:, :d] for part in range(3))
        weights = torch.softmax(query @ key.T / math.sqrt(d), dim=1)
        heads.append(weights @ value)
    return _linear(torch.cat(heads, dim=1), state, f"{name}.proj")


def _ffn(x: Tensor, state: Mapping[str, Tensor], config: Mapping[str, Any], name: str) -> Tensor:
    if config["ffn"] == "mlp":
        hidden = _linear(x, state, f"{name}.fc1")
        return _linear(0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))), state, f"{name}.fc2")
    gate, content = _linear(x, state, f"{name}.w12").chunk(2, dim=1)
    return _linear(gate * torch.sigmoid(gate) * content, state, f"{name}.w3")
