"""What tells the weights of one model from those of another."""

from __future__ import annotations

import hashlib

from torch import nn

from franca.models.safetensors import to_bytes


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters and buffers: the same weights give the same text."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(to_bytes(tensor))
    return digest.hexdigest()
