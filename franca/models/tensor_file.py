"""The tensors of a file, whoever wrote it, without running any code that it may carry."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.models.pieces import find_pieces, unpack_pieces
from franca.models.safetensors import read_safetensors

CONTAINERS = ("teacher", "model", "state_dict")
PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save's, since version 1.6 and before
NAMES_SHOWN = 8


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file, or one of torch.save with a state dict, plain or under one of `CONTAINERS`.

    Args:
        path: of the file, or of the first of its pieces, see `franca.models.pieces`.

    Returns:
        Tensors by name, on the CPU, maybe mapped from the file; and the metadata, empty for torch.save.

    Raises:
        CheckpointError: if the file is missing, damaged, of another format, or needs code of its own to be read.
    """
    path = Path(path)
    pieces = find_pieces(path)
    if not pieces:
        return _read_file(path)
    # Closed files may stay mapped, which keeps some systems from removing them; tensors that are used get copied.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        whole = Path(folder) / "whole"
        unpack_pieces(pieces, whole)
        return _read_file(whole)


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return read_safetensors(path)
    if not start.startswith(PICKLE_STARTS):
        raise CheckpointError(
            f"{path} is no checkpoint: it starts with {start!r}. Give a safetensors file or one of torch.save; if it "
            "was to be one, copy or download it again."
        )
    return _state_dict(_read_pickle(path), path), {}


def _read_pickle(path: Path) -> Any:
    try:
        # A mapped file costs memory only for the tensors that are taken from it, not for the training heads.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # whatever the bytes of a damaged file make of the reader
        refused = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if refused:
            raise CheckpointError(
                f"{path} needs {refused[1]} to be read. Only plain tensors are read, because such a file can run any "
                "code. Save the state dict alone, as torch.save(model.state_dict(), FILE) does."
            ) from error
        raise CheckpointError(
            f"{path} is damaged, cut short or not of torch.save ({type(error).__name__}). Copy or download it again."
        ) from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The names and tensors in what a file holds."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a state dict, names with tensors.")
    held = next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), content)
    others = [str(name) for name, value in held.items() if not isinstance(value, Tensor)]
    if others or not held:
        raise CheckpointError(
            f"{path} holds no state dict: {', '.join(others[:NAMES_SHOWN]) or 'nothing'} is no tensor. Expected names "
            f"with tensors, plain or under one of {', '.join(CONTAINERS)}."
        )
    return {str(name): value for name, value in held.items()}
