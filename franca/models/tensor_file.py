"""The tensors of a file, whoever wrote it, without running any code that it may carry."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.models.file_kind import PICKLE_START, START_BYTES, is_pickle, is_safetensors
from franca.models.pieces import find_pieces, unpack_pieces
from franca.models.safetensors import read_safetensors

CONTAINERS = ("teacher", "model", "state_dict")
# What torch says of files that hold more than tensors, by version: the name of it where there is one, or any of these.
REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+?) (?:was not an allowed global|whose module)")
REFUSED_CODE = re.compile(
    r"Can only (?:create new object for|build)|unrecognized function|unsupported class|not initialized by BUILD"
)
SAVED_PROTOCOL = 2  # torch.save's own, and the newest one that is read without running code
TORCHSCRIPT = re.compile("TorchScript archive")
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
            start = file.read(START_BYTES)
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error
    if path.suffix == ".safetensors" or is_safetensors(start):
        return read_safetensors(path)
    if not is_pickle(start):
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
        needed = _needed_code(error, path)
        if needed:
            raise CheckpointError(
                f"{path} needs {needed} to be read. Only plain tensors are read, because such a file can run any "
                "code. Save the state dict alone, as torch.save(model.state_dict(), FILE) does."
            ) from error
        raise CheckpointError(
            f"{path} is damaged, cut short or not of torch.save ({type(error).__name__}). Copy or download it again."
        ) from error


def _needed_code(error: Exception, path: Path) -> str:
    """What a whole file would run if it were allowed to; empty for a damaged one."""
    message = str(error)
    if TORCHSCRIPT.search(message):
        return "TorchScript"
    if refused := REFUSED_GLOBAL.search(message):
        return refused[1]
    if REFUSED_CODE.search(message):
        return "code of its own"
    if "Unsupported operand" in message and (protocol := _pickle_protocol(path)) > SAVED_PROTOCOL:
        return f"pickle protocol {protocol}"
    return ""


def _pickle_protocol(path: Path) -> int:
    """Which protocol a file of torch.save says that it was written with; 0 where it does not say."""
    start = b""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            start = file.read(2)
    else:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with suppress(zipfile.BadZipFile):  # where its bytes are damaged, they do not say
                        start = archive.read(name)[:2]
    return start[1] if len(start) == 2 and start.startswith(PICKLE_START) else 0


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
