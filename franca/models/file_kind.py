"""What a file of tensors must look like, as far as that can be told without reading it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from franca.errors import CheckpointError
from franca.models.safetensors import check_safetensors

START_BYTES = 16
ZIP_START = b"PK\x03\x04"  # torch.save's, since version 1.6
PICKLE_START = b"\x80"  # and before
GZIP_START = b"\x1f\x8b"  # the first of the pieces of a tar


def is_safetensors(start: bytes) -> bool:
    """Whether a file that starts so is one of safetensors: after eight bytes its header begins."""
    return start[8:9] == b"{"


def is_pickle(start: bytes) -> bool:
    """Whether a file that starts so is one of torch.save."""
    return start.startswith((ZIP_START, PICKLE_START))


def check_download(path: Path) -> None:
    """Refuse what is no file of tensors, such as a page of HTML, and what ends early, as far as its format tells.

    Raises:
        ValueError: saying what it is.
    """
    with open(path, "rb") as file:
        start = file.read(START_BYTES)
    if start.startswith(ZIP_START) and not zipfile.is_zipfile(path):
        raise ValueError("the connection broke: the end of the file is missing")
    if start.startswith((ZIP_START, PICKLE_START, GZIP_START)):
        return
    if not is_safetensors(start):
        raise ValueError(f"what came is no checkpoint: it starts with {start!r}")
    try:
        check_safetensors(path)
    except CheckpointError as error:
        raise ValueError("the connection broke: what came is no whole safetensors file") from error
