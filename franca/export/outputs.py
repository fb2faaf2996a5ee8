"""What is compared between a backbone and its exports."""

from __future__ import annotations

import torch
from torch import Tensor

from franca.export.formats import Reader
from franca.models.projector import remove
from franca.models.vision_transformer import VisionTransformer


def outputs_of(backbone: VisionTransformer) -> Reader:
    """A backbone of ours as a function from images [B, C, H, W] to its outputs by name."""

    @torch.inference_mode()
    def read(images: Tensor) -> dict[str, Tensor]:
        features = backbone.features(images)
        named = {"cls": features.cls, "patches": features.patches}
        if backbone.num_registers:
            named["registers"] = features.registers
        if backbone.rasa_basis is not None:
            named["patches_rasa"] = remove(features.patches, backbone.rasa_basis)
        return named

    return read


def split_tokens(tokens: Tensor, num_registers: int) -> dict[str, Tensor]:
    """Name the tokens [B, 1 + R + N, D] that other programs give in one tensor, class token and registers first."""
    cls, registers, patches = tokens.split([1, num_registers, tokens.shape[1] - 1 - num_registers], dim=1)
    named = {"cls": cls.squeeze(1), "patches": patches}
    return {**named, "registers": registers} if num_registers else named
