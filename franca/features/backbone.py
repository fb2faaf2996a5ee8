"""What extraction asks of a model, and how a model is found by name.

Any ``nn.Module`` that maps images [B, 3, H, W] to embeddings [B, D] can be judged. One that also has
``get_intermediate_layers(x, n, return_class_token=True)`` and ``blocks``, as every ViT of ours and of DINOv2 has,
offers class embeddings of earlier blocks and patch embeddings.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from typing import Any

import torch
from torch import Tensor, nn

from franca.errors import ConfigError, DataError
from franca.models import hub
from franca.models.preprocessing import Preprocessing

CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")

UNSTATED = Preprocessing()  # for a model that does not say what it was made for: 224 px, ImageNet's mean and std


def open_backbone(model: str, *, pretrained: bool = True, weights: str | None = None) -> nn.Module:
    """The backbone that MODEL names: a run folder, a file of weights or its URL, one of our names, ``module:callable``.

    Raises:
        ConfigError: a ``module:callable`` that cannot be imported or does not make a model.
        CheckpointError: the folder, file or name is not a model; see `franca.models.hub.load`.
    """
    if not CALLABLE.fullmatch(model) or os.path.exists(model):
        return hub.load(model, pretrained=pretrained, weights=weights)
    if weights is not None or not pretrained:
        raise ConfigError(f"model {model!r}: weights= and pretrained= are for named models; the callable decides here")
    try:
        made = _import_callable(model)()
    except TypeError as error:
        raise ConfigError(f"model {model!r} cannot be called without arguments: {error}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"model {model!r} returned {type(made).__name__}; expected a torch.nn.Module")
    return made.eval()


def _import_callable(model: str) -> Any:
    module_name, _, name = model.partition(":")
    if os.getcwd() not in sys.path:  # as python -m does, so that a file in this folder is found
        sys.path.insert(0, os.getcwd())
    try:
        made: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"model {model!r}: cannot import {module_name!r} ({error})") from error
    for part in name.split("."):
        if not hasattr(made, part):
            raise ConfigError(f"model {model!r}: {module_name!r} has no {name!r}")
        made = getattr(made, part)
    if not callable(made):
        raise ConfigError(f"model {model!r}: {name!r} is not callable; expected a function that returns the model")
    return made


def preprocessing_of(backbone: nn.Module) -> Preprocessing:
    """Image size, mean and std that the backbone was made for."""
    stated = getattr(backbone, "preprocessing", None)
    return stated if isinstance(stated, Preprocessing) else UNSTATED


def num_blocks(backbone: nn.Module) -> int:
    """Blocks whose class embedding can be had; 1 for a model that only maps images to embeddings."""
    return len(backbone.blocks) if _has_blocks(backbone) else 1  # type: ignore[arg-type]


def last_blocks(backbone: nn.Module, images: Tensor, layers: int) -> tuple[Tensor, Tensor | None]:
    """Class embeddings of the last ``layers`` blocks and patch embeddings of the last one, all after the norm.

    Returns:
        [B, L, D] with the last block last, and [B, N, D] or None for a model without patches.
    """
    if not _has_blocks(backbone):
        return backbone(images)[:, None], None  # [B, 1, D]
    outputs = backbone.get_intermediate_layers(images, n=layers, return_class_token=True)  # type: ignore[operator]
    return torch.stack([cls for _, cls in outputs], dim=1), outputs[-1][0]


def check_image_size(backbone: nn.Module, size_px: int) -> None:
    """Raises a DataError where the patches of the backbone do not tile an image of this size."""
    config = getattr(backbone, "config", None)
    patch_px = config.get("patch_size_px") if isinstance(config, dict) else None
    if patch_px and size_px % patch_px:
        below, above = size_px // patch_px * patch_px, (size_px // patch_px + 1) * patch_px
        raise DataError(
            f"image_size_px={size_px} is not a multiple of the model's patch size, {patch_px} px; "
            f"try image_size_px={below or above} or image_size_px={above}"
        )


def fingerprint(backbone: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters and buffers: the same weights give the same text."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _has_blocks(backbone: nn.Module) -> bool:
    return hasattr(backbone, "get_intermediate_layers") and hasattr(backbone, "blocks")
