"""Backbones from files that others wrote: of Franca and DINOv2, released or trained, of timm and transformers.

Such a file holds tensors alone. Their names are brought to ours; `franca.models.inferred` tells the architecture.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError, ConfigError
from franca.models.check import image_size
from franca.models.inferred import Untold, infer_architecture
from franca.models.layouts import to_ours
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import check_state

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
TRAINING_HEADS = ("dino_head.", "ibot_head.", "rasa_head.")
CHUNK = re.compile(r"^blocks\.\d+\.(\d+)\.")
# Scores of DINOv2 and Franca are measured at this size, also where the positions were last trained at 518.
EVALUATION_SIZE_PX = 224


def build_foreign(
    tensors: Mapping[str, Tensor], *, source: str, untold: Untold | None = None, verbose: bool = True
) -> VisionTransformer:
    """Build the backbone that tensors are the parameters of, in evaluation mode and fp32.

    Args:
        tensors: names and parameters as in the file; they are copied.
        source: the file, for messages.
        untold: what the file does not tell.
        verbose: count on stderr what matched, what is missing, and what was left aside.

    Raises:
        CheckpointError: if they are not of one vision transformer, all of it and nothing else; names are given.
    """
    named, num_left = backbone_tensors(tensors, source)
    state, layout = to_ours(named)
    state = _fuse_gates(state)
    config = infer_architecture(state, source=source, untold=untold or Untold())
    notes = [f"{num_left} of training heads left aside"] * (num_left > 0)
    if "mask_token" not in state:
        state["mask_token"] = torch.zeros(1, config["width"])
        notes.append("no mask token in the file: zeros")
    try:
        with torch.device("meta"):
            backbone = VisionTransformer(**config)
    except ConfigError as error:
        raise CheckpointError(f"{source}: {error}") from error
    if verbose:
        print("; ".join([_count(backbone, state, source, layout), *notes]), file=sys.stderr)
    check_state(backbone, state, source=source)
    backbone.load_state_dict({name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}, assign=True)
    backbone.preprocessing = replace(backbone.preprocessing, image_size_px=_evaluation_size(config))
    backbone.export_info = {"source": source, "layout": layout}
    return backbone.eval()


def backbone_tensors(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], int]:
    """Free names of wrappers, of ``backbone.`` and of block chunks.

    Returns:
        The tensors of the backbone, and how many of training heads were left aside.

    Raises:
        CheckpointError: if two tensors get the same name.
    """
    found: dict[str, Tensor] = {}
    num_left = 0
    for name, tensor in tensors.items():
        plain = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if plain.startswith(TRAINING_HEADS):
            num_left += 1
            continue
        plain = CHUNK.sub(r"blocks.\1.", plain.removeprefix("backbone."))
        if plain in found:
            raise CheckpointError(
                f"{source} holds more than one backbone: {plain} comes twice. Save one of them alone."
            )
        found[plain] = tensor
    return found, num_left


def _fuse_gates(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SwiGLU's w1 and w2, as xFormers can write them, as the one w12."""
    fused = {}
    for name, tensor in state.items():
        content = state.get(name.replace(".mlp.w1.", ".mlp.w2."))
        if ".mlp.w1." in name and content is not None:
            fused[name.replace(".mlp.w1.", ".mlp.w12.")] = torch.cat([tensor, content])
        elif not (".mlp.w2." in name and name.replace(".mlp.w2.", ".mlp.w1.") in state):
            fused[name] = tensor
    return fused


def _count(backbone: VisionTransformer, state: Mapping[str, Tensor], source: str, layout: str) -> str:
    expected = backbone.state_dict()
    matched = sum(name in state and state[name].shape == tensor.shape for name, tensor in expected.items())
    missing, unexpected = len(expected.keys() - state.keys()), len(state.keys() - expected.keys())
    reshaped = len(expected.keys() & state.keys()) - matched
    counts = [f"{matched} tensors matched", f"{missing} missing", f"{unexpected} unexpected"]
    return f"{source} ({layout} names): " + ", ".join(counts + [f"{reshaped} of another shape"] * (reshaped > 0))


def _evaluation_size(config: Mapping[str, Any]) -> int:
    """A square that the model was trained for and that scores are usually measured at."""
    patch: int = config["patch_size_px"]
    return min(*image_size(config["image_size_px"]), max(EVALUATION_SIZE_PX // patch, 1) * patch)
