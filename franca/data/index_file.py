"""A file of named arrays that is mapped to memory, so that all processes of a machine share one copy.

First come eight bytes that tell the format, then length and check sum of the header, four bytes each, then the header
as JSON, then the arrays, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from franca.data.cache_folder import write_atomically

MAGIC = b"FRNCIDX2"
_ALIGNMENT = 64
_START = 16  # bytes before the header
_LARGEST_HEADER = 1 << 20
_FIRST_READ = 4096  # nearly every header is shorter
_TYPES: dict[str, np.dtype[Any]] = {"i8": np.dtype("<i8"), "u1": np.dtype("u1")}

Arrays = dict[str, NDArray[Any]]


def write_arrays(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes a header and arrays of int64 or uint8, all or nothing.

    Raises:
        OSError: The file cannot be written.
    """
    shapes = {name: [_code(array), *array.shape] for name, array in arrays.items()}
    body = [_padded(np.ascontiguousarray(array, _TYPES[_code(array)]).tobytes()) for array in arrays.values()]
    text = json.dumps({"header": header, "arrays": shapes, "sum": zlib.crc32(b"".join(body))}).encode()
    start = MAGIC + len(text).to_bytes(4, "little") + zlib.crc32(text).to_bytes(4, "little")
    write_atomically(path, [_padded(start + text), *body])


def read_header(path: Path) -> dict[str, Any] | None:
    """The header alone; None where there is no such file, or it is damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(_FIRST_READ)
            found = _parse(start + file.read(max(0, _header_end(start) - len(start))))
    except (OSError, ValueError):
        return None
    header: dict[str, Any] = found["header"]
    return header


def read_arrays(path: Path) -> tuple[dict[str, Any], Arrays] | None:
    """Header and arrays, mapped to memory and read-only; None where there is no such file, or it is damaged."""
    try:
        mapped = np.memmap(path, dtype=np.uint8, mode="r")
        end = _header_end(mapped[:_START].tobytes())
        found = _parse(mapped[:end].tobytes())
    except (OSError, ValueError):
        return None
    position = _aligned(end)
    if zlib.crc32(mapped[position:].data) != found["sum"]:
        return None
    arrays: Arrays = {}
    for name, (code, *shape) in found["arrays"].items():
        num_bytes = _TYPES[code].itemsize * int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.asarray(mapped[position : position + num_bytes]).view(_TYPES[code]).reshape(shape)
        position = _aligned(position + num_bytes)
    return found["header"], arrays


def _parse(data: bytes) -> dict[str, Any]:
    text = data[_START : _header_end(data)]
    if zlib.crc32(text) != int.from_bytes(data[12:_START], "little"):
        raise ValueError("the header is damaged")
    found: dict[str, Any] = json.loads(text)
    return found


def _header_end(start: bytes) -> int:
    length = int.from_bytes(start[8:12], "little")
    if start[:8] != MAGIC or length > _LARGEST_HEADER:
        raise ValueError("not an index")
    return _START + length


def _code(array: NDArray[Any]) -> str:
    return str(array.dtype.str[1:])


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _padded(data: bytes) -> bytes:
    return data + bytes(_aligned(len(data)) - len(data))
