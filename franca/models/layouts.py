"""What timm and transformers call the parameters of our backbone, in both directions.

Our own names are DINOv2's. All functions take and give flat dictionaries, and copy no tensor that they only rename.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

OURS = "dinov2"
TIMM = "timm"
TRANSFORMERS = "transformers"

# Ours: timm's. A perceptron is called fc1 and fc2 in both, so reading takes these names by the shape of the weights.
TIMM_NAMES = {
    "register_tokens": "reg_token",
    "blocks.{i}.mlp.w12": "blocks.{i}.mlp.fc1",
    "blocks.{i}.mlp.w3": "blocks.{i}.mlp.fc2",
}

# Ours: transformers', in its files. Several names are parts of ours, stacked along the first dimension.
TRANSFORMERS_NAMES = {
    "cls_token": ("embeddings.cls_token",),
    "mask_token": ("embeddings.mask_token",),
    "register_tokens": ("embeddings.register_tokens",),
    "pos_embed": ("embeddings.position_embeddings",),
    "patch_embed.proj": ("embeddings.patch_embeddings.projection",),
    "blocks.{i}.norm1": ("encoder.layer.{i}.norm1",),
    "blocks.{i}.attn.qkv": tuple(
        f"encoder.layer.{{i}}.attention.attention.{part}" for part in ("query", "key", "value")
    ),
    "blocks.{i}.attn.proj": ("encoder.layer.{i}.attention.output.dense",),
    "blocks.{i}.ls1.gamma": ("encoder.layer.{i}.layer_scale1.lambda1",),
    "blocks.{i}.norm2": ("encoder.layer.{i}.norm2",),
    "blocks.{i}.mlp.fc1": ("encoder.layer.{i}.mlp.fc1",),
    "blocks.{i}.mlp.fc2": ("encoder.layer.{i}.mlp.fc2",),
    "blocks.{i}.mlp.w12": ("encoder.layer.{i}.mlp.weights_in",),
    "blocks.{i}.mlp.w3": ("encoder.layer.{i}.mlp.weights_out",),
    "blocks.{i}.ls2.gamma": ("encoder.layer.{i}.layer_scale2.lambda1",),
    "norm": ("layernorm",),
}

# The same in memory since version 5, so what torch.save(model.state_dict()) writes there.
TRANSFORMERS_NAMES_IN_MEMORY = {
    "blocks.{i}.attn.qkv": tuple(f"encoder.layer.{{i}}.attention.{part}_proj" for part in ("q", "k", "v")),
    "blocks.{i}.attn.proj": ("encoder.layer.{i}.attention.o_proj",),
    "blocks.{i}.mlp.w12": ("encoder.layer.{i}.mlp.gate_proj", "encoder.layer.{i}.mlp.up_proj"),
    "blocks.{i}.mlp.w3": ("encoder.layer.{i}.mlp.down_proj",),
}

# Transformers' name: ours, and which part of it.
TRANSFORMERS_PARTS = {
    part: (ours, index)
    for names in (TRANSFORMERS_NAMES, TRANSFORMERS_NAMES_IN_MEMORY)
    for ours, parts in names.items()
    for index, part in enumerate(parts)
}

NAME = re.compile(r"(?:(blocks|encoder\.layer)\.(\d+)\.)?(.*?)(\.weight|\.bias)?")


def to_ours(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Give parameters our names, whichever of the three layouts they come in.

    A file of timm has no mask token, so the result has none either. With registers it holds the sum of class token and
    class position, which comes back as the class token, beside a position of zero: the same function.

    Args:
        state: parameters of one backbone, blocks numbered ``blocks.0`` upwards.

    Returns:
        The parameters, names that no layout knows as they were; and the layout found: ``dinov2``, which is ours,
        ``timm`` or ``transformers``.
    """
    layout = layout_of(state)
    if layout == TRANSFORMERS:
        return _from_transformers(state), layout
    if layout == TIMM:
        return _from_timm(state), layout
    return dict(state), layout


def layout_of(state: Mapping[str, Tensor]) -> str:
    """Whose names these are: ``dinov2``, ``timm`` or ``transformers``.

    A perceptron without registers has the same names in DINOv2 and timm; only the missing mask token tells.
    """
    if "embeddings.position_embeddings" in state:
        return TRANSFORMERS
    if "pos_embed" in state and ("reg_token" in state or "mask_token" not in state):
        return TIMM
    return OURS


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters under the names that timm's VisionTransformer reads strictly.

    The mask token is left out. With registers, timm adds no position to the class token (``no_embed_class``), so the
    two are summed here.
    """
    named = {_rename(name, TIMM_NAMES): tensor for name, tensor in state.items() if name != "mask_token"}
    if "register_tokens" in state:
        named["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        named["pos_embed"] = state["pos_embed"][:, 1:].contiguous()
    return named


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters under the names in files of transformers' Dinov2Model and Dinov2WithRegistersModel.

    These models always have layer scale: a backbone without it gets factors of one.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in with_layer_scale(state).items():
        template, number, leaf = _parse(name)
        parts = [_build(part, number, leaf) for part in TRANSFORMERS_NAMES[template]]
        named.update(zip(parts, tensor.chunk(len(parts)), strict=True))
    return named


def with_layer_scale(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters with layer scale in every block: factors of one where there was none."""
    ones = {
        re.sub(r"norm([12])\.weight", r"ls\1.gamma", name): torch.ones_like(tensor)
        for name, tensor in state.items()
        if re.fullmatch(r"blocks\.\d+\.norm[12]\.weight", name)
    }
    return {**ones, **state}


def _from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {theirs: ours for ours, theirs in TIMM_NAMES.items() if _is_gated(state) or ".mlp." not in ours}
    named = {_rename(name, names): tensor for name, tensor in state.items()}
    if "reg_token" in state:
        no_position = torch.zeros_like(state["pos_embed"][:, :1])
        named["pos_embed"] = torch.cat([no_position, state["pos_embed"]], dim=1)
    return named


def _is_gated(state: Mapping[str, Tensor]) -> bool:
    """Whether timm's feed-forward is SwiGLU: gate and content go in stacked, so fc1 is twice as wide as fc2."""
    first, second = (state.get(f"blocks.0.mlp.{layer}.weight") for layer in ("fc1", "fc2"))
    return first is not None and second is not None and first.shape[0] == 2 * second.shape[1]


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, dict[int, Tensor]] = {}
    for name, tensor in state.items():
        template, number, leaf = _parse(name)
        ours, index = TRANSFORMERS_PARTS.get(template, (template, 0))
        found.setdefault(_build(ours, number, leaf), {})[index] = tensor
    return {
        name: torch.cat([parts[index] for index in sorted(parts)]) if len(parts) > 1 else next(iter(parts.values()))
        for name, parts in found.items()
    }


def _rename(name: str, names: Mapping[str, str]) -> str:
    template, number, leaf = _parse(name)
    return _build(names.get(template, template), number, leaf)


def _parse(name: str) -> tuple[str, str, str]:
    """``blocks.3.norm1.weight`` as its template ``blocks.{i}.norm1``, the number ``3`` and the leaf ``.weight``."""
    match = NAME.fullmatch(name)
    assert match is not None
    stack, number, rest, leaf = match.groups(default="")
    return (f"{stack}.{{i}}.{rest}" if stack else rest), number, leaf


def _build(template: str, number: str, leaf: str) -> str:
    return template.replace("{i}", number) + leaf
