"""Projectors as files: the basis in safetensors, the rest as text in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.models.projector import Projector
from franca.models.safetensors import read_safetensors, write_safetensors

METADATA_KEY = "franca_rasa"
BASIS = "basis"
ORTHONORMAL_TOLERANCE = 1e-6
HASH_SHOWN = 12


@dataclass(frozen=True, eq=False)
class ProjectorFile:
    """What a file holds.

    Attributes:
        projector: the map.
        fingerprint: of the backbone that it was fitted on, see `franca.models.fingerprint`.
        settings: JSON values: how it was fitted.
        table: one row per iteration, JSON values; row 0 is before the first.
    """

    projector: Projector
    fingerprint: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] = ()

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, which is either whole or not there."""
        description = {"fingerprint": self.fingerprint, "settings": self.settings, "table": list(self.table)}
        write_safetensors(path, {BASIS: self.projector.basis.cpu()}, {METADATA_KEY: json.dumps(description)})


def read_projector_file(path: str | os.PathLike[str]) -> ProjectorFile:
    """Read what `ProjectorFile.write` wrote.

    Raises:
        CheckpointError: if the file is missing, damaged, or no projector.
    """
    tensors, metadata = read_safetensors(path)
    if METADATA_KEY not in metadata or BASIS not in tensors:
        raise CheckpointError(
            f"{path} holds no projector. Give a file that franca rasa fit or franca rasa convert wrote."
        )
    basis = tensors[BASIS].double()
    if basis.ndim != 2 or not _is_orthonormal(basis):
        raise CheckpointError(f"{path} is damaged: its basis {list(basis.shape)} is not orthonormal. Fit it again.")
    try:
        description = json.loads(metadata[METADATA_KEY])
        return ProjectorFile(
            Projector(basis), str(description["fingerprint"]), description["settings"], tuple(description["table"])
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: its description lacks {error}. Fit it again.") from error


def _is_orthonormal(basis: Tensor) -> bool:
    products = basis @ basis.T
    return torch.allclose(products, torch.eye(len(basis), dtype=basis.dtype), rtol=0, atol=ORTHONORMAL_TOLERANCE)


def read_projector(path: str | os.PathLike[str], fingerprint: str) -> Projector:
    """Read the projector of one backbone.

    Args:
        path: of the file.
        fingerprint: of the backbone that it is wanted for, see `franca.models.fingerprint`.

    Raises:
        CheckpointError: if the file is missing, damaged, no projector, or was fitted on another backbone.
    """
    found = read_projector_file(path)
    if found.fingerprint != fingerprint:
        raise CheckpointError(
            f"{path} was fitted on another backbone: on weights with hash {found.fingerprint[:HASH_SHOWN]}, these have "
            f"{fingerprint[:HASH_SHOWN]}. Fit one for these weights: franca rasa fit MODEL data=SRC out=FILE."
        )
    return found.projector
