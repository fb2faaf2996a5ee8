"""Arrays in a file that is mapped to memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from franca.data.index_file import _aligned, _header_end, read_arrays, read_header, write_arrays

ARRAYS = {
    "ends": np.arange(5, dtype=np.int64),
    "text": np.frombuffer(b"some bytes", np.uint8),
    "none": np.zeros((0, 2), np.int64),
    "pairs": np.arange(6, dtype=np.int64).reshape(3, 2) - 3,
}


def test_arrays_come_back_mapped_and_read_only(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/x.index"
    write_arrays(path, {"size": 1 << 40, "note": "größe" * 2000}, ARRAYS)
    found = read_arrays(path)
    assert found is not None
    header, arrays = found
    assert header == read_header(path) == {"size": 1 << 40, "note": "größe" * 2000}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array) and arrays[name].dtype == array.dtype
    with pytest.raises(ValueError, match="read-only"):
        arrays["ends"][0] = 1


@given(cut=st.integers(0, 500), flip=st.integers(0, 500), change=st.integers(1, 255))
def test_a_damaged_file_is_no_index(tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, change: int) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.index"
    write_arrays(path, {"size": 3}, ARRAYS)
    data = bytearray(path.read_bytes())
    end = _header_end(data)
    flip %= len(data)
    data[flip] ^= change
    path.write_bytes(data[: len(data) - cut % len(data)])
    padding = end <= flip < _aligned(end)
    assert read_arrays(path) is None or (padding and not cut % len(data))
    assert read_header(path) in (None, {"size": 3})


def test_there_is_none(tmp_path: Path) -> None:
    assert read_arrays(tmp_path / "x") is None
    assert read_header(tmp_path / "x") is None
