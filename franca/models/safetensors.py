"""The safetensors format: a JSON header with names, types, shapes and byte offsets, then the bytes.

Written out here because a backbone must load where only torch is installed.
Source: github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from franca.errors import CheckpointError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors, on the CPU, and the metadata of a file.

    Raises:
        CheckpointError: if the file is missing, cut short, or not in this format.
    """
    with _told(path), open(path, "rb") as file:
        header, metadata, first_byte = _read_checked_header(file)
        return {name: _read_tensor(file, entry, first_byte) for name, entry in header.items()}, metadata


def check_safetensors(path: str | os.PathLike[str]) -> None:
    """Check that a file is whole, by its header and its length; the tensors are not read.

    Raises:
        CheckpointError: see `read_safetensors`.
    """
    with _told(path), open(path, "rb") as file:
        _read_checked_header(file)


@contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of a file as those of the user."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error
    except _Malformed as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}. Copy or export it again.") from error


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file that is either whole or not there: an older file at ``path`` is replaced in one move."""
    write_joined(path, {name: [tensor] for name, tensor in tensors.items()}, metadata)


def write_joined(
    path: str | os.PathLike[str], parts: Mapping[str, Iterable[Tensor]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors that come in parts, of which one at a time is held: as `write_safetensors` of ``torch.cat(parts)``.

    Args:
        parts: By name, at least one each; they are gone through twice, and differ in their first dimension at most.
    """
    path = Path(path)
    joined = {name: _joined_like(tensors) for name, tensors in parts.items()}
    # Wide types first, so that every tensor starts at a multiple of its item size.
    names = sorted(joined, key=lambda name: (-joined[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        begin, end = end, end + joined[name].nbytes
        shape = list(joined[name].shape)
        header[name] = {"dtype": NAMES[joined[name].dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
            for name in names:
                for tensor in parts[name]:
                    file.write(to_bytes(tensor))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _joined_like(parts: Iterable[Tensor]) -> Tensor:
    """Type and shape of the parts together, without memory."""
    shapes = [(tensor.shape, tensor.dtype) for tensor in parts]
    (first, dtype), rows = shapes[0], sum(shape[0] for shape, _ in shapes if shape)
    return torch.empty((rows, *first[1:]) if len(shapes) > 1 else first, dtype=dtype, device="meta")


class _Malformed(Exception):
    """What is wrong with the file."""


def _read_checked_header(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, str], int]:
    """The entries of the tensors, the metadata, and where the tensors' bytes begin."""
    size = os.fstat(file.fileno()).st_size
    header, first_byte = _read_header(file, size)
    metadata = header.pop("__metadata__", {})
    _check_offsets(header, size - first_byte)
    return header, metadata, first_byte


def _read_header(file: IO[bytes], size: int) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes begin."""
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if size < LENGTH_BYTES or not 2 <= length <= min(size - LENGTH_BYTES, MAX_HEADER_BYTES):
        raise _Malformed(f"its header should take {length} bytes, the whole file has {size}")
    try:
        header = json.loads(file.read(length))
    except ValueError as error:
        raise _Malformed("its header is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise _Malformed("its header is not a table of tensors")
    return header, LENGTH_BYTES + length


def _check_offsets(header: Mapping[str, Any], num_bytes: int) -> None:
    """The tensors must fill the bytes without gap or overlap, each as many as its type and shape take."""
    reached = 0
    for name, entry in sorted(header.items(), key=_begin):
        if entry["dtype"] not in DTYPES:
            raise _Malformed(f"{name} has type {entry['dtype']!r}; known are {', '.join(DTYPES)}")
        begin, end = entry["data_offsets"]
        if begin != reached or end - begin != math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize:
            raise _Malformed(f"{name} claims bytes {begin} to {end}, which do not fit its shape or its neighbours")
        reached = end
    if reached != num_bytes:
        raise _Malformed(f"its tensors take {reached} bytes, but {num_bytes} follow the header")


def _begin(item: tuple[str, Any]) -> tuple[int, int]:
    """Where an entry begins; checks that it is one."""
    name, entry = item
    try:
        begin, end = entry["data_offsets"]
        sound = isinstance(entry["dtype"], str) and all(
            type(number) is int and number >= 0 for number in (begin, end, *entry["shape"])
        )
    except (TypeError, KeyError, ValueError):
        sound = False
    if not sound:
        raise _Malformed(f"the entry of {name} lacks a type, a shape or offsets")
    return begin, end


def _read_tensor(file: IO[bytes], entry: Mapping[str, Any], first_byte: int) -> Tensor:
    begin, end = entry["data_offsets"]
    dtype = DTYPES[entry["dtype"]]
    if begin == end:
        return torch.empty(entry["shape"], dtype=dtype)
    file.seek(first_byte + begin)
    # A buffer of its own, so that the tensor may be changed, and outlives its neighbours alone.
    return torch.frombuffer(bytearray(file.read(end - begin)), dtype=dtype).view(entry["shape"])


def to_bytes(tensor: Tensor) -> bytearray:
    """The bytes of a tensor on any device; through torch, because numpy may be missing."""
    buffer = bytearray(tensor.nbytes)
    if buffer:
        torch.frombuffer(buffer, dtype=tensor.dtype).view(tensor.shape).copy_(tensor.detach())
    return buffer
