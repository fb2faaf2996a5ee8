"""Checkpoints as Franca, DINOv2 and their training write them, of small models with random parameters."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.models.vision_transformer import VisionTransformer
from tests.models import reference

SMALL: dict[str, Any] = {"width": 128, "depth": 5, "num_heads": 2}  # heads of 64, as in every released model

IMAGES = torch.randn(2, 3, 28, 70, generator=torch.Generator().manual_seed(0))  # another grid than the stored one


def small(**options: Any) -> VisionTransformer:
    """A model with random parameters, patches of 14 px and a grid of 3 x 3, and the options of released ones."""
    usual = {"patch_size_px": 14, "image_size_px": 42, "ffn": "swiglu", "position_interpolation": "offset"}
    model = VisionTransformer(**{**SMALL, **usual, **options}).eval()
    reference.randomize(model)
    return model


def same(found: VisionTransformer, model: VisionTransformer) -> bool:
    """Whether two backbones do just the same, masked patches included."""
    num_patches = (28 // model.patch_size_px) * (70 // model.patch_size_px)
    masks = torch.arange(2 * num_patches).reshape(2, -1) % 3 == 0
    one, other = (backbone.features(IMAGES, masks) for backbone in (found, model))
    return torch.equal(one.cls, other.cls) and torch.equal(one.patches, other.patches)


def chunked(state: Mapping[str, Tensor], blocks_per_chunk: int = 2) -> dict[str, Tensor]:
    """Blocks under ``blocks.CHUNK.BLOCK.``, the block's number counted through."""
    return {_chunked(name, blocks_per_chunk): tensor for name, tensor in state.items()}


def _chunked(name: str, blocks_per_chunk: int) -> str:
    first, _, rest = name.partition(".")
    return f"blocks.{int(rest.partition('.')[0]) // blocks_per_chunk}.{rest}" if first == "blocks" else name


def prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def heads() -> dict[str, Tensor]:
    """Four tensors of training heads."""
    names = (
        "dino_head.mlp.0.weight",
        "dino_head.mlp.0.bias",
        "ibot_head.last_layer.weight",
        "rasa_head.pos_pred.weight",
    )
    return {name: torch.randn(3, 2) for name in names}


def in_pieces(path: Path, folder: Path, *, num_pieces: int = 3, name: str = "./a/model.pth") -> list[Path]:
    """A file as a gzipped tar that is cut into pieces."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.add(path, arcname=name)
    return cut(content.getvalue(), folder, num_pieces)


def cut(content: bytes, folder: Path, num_pieces: int = 3) -> list[Path]:
    """Bytes as ``whole_chunked.tar.gz.part_aa`` and so on."""
    size = -(-len(content) // num_pieces)
    pieces = [folder / f"whole_chunked.tar.gz.part_a{letter}" for letter in "abcdefgh"[:num_pieces]]
    for index, piece in enumerate(pieces):
        piece.write_bytes(content[index * size : (index + 1) * size])
    return pieces


def zipped(content: bytes) -> bytes:
    return gzip.compress(content)
