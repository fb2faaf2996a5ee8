from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from franca.errors import CheckpointError
from franca.models import safetensors as ours
from franca.models.safetensors import DTYPES, read_safetensors, write_safetensors

package = pytest.importorskip("safetensors")
package_torch = pytest.importorskip("safetensors.torch")


def examples() -> dict[str, torch.Tensor]:
    """Every type, with odd sizes, an empty tensor and a scalar."""
    tensors = {name: (torch.randn(3, 5) * 3).to(dtype) for name, dtype in DTYPES.items()}
    return {**tensors, "empty": torch.empty(0, 4), "scalar": torch.tensor(7), "strided": torch.randn(4, 6).T}


def test_reads_what_the_package_writes(tmp_path: Path) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in examples().items()}
    package_torch.save_file(tensors, tmp_path / "a", metadata={"key": "värde"})
    found, metadata = read_safetensors(tmp_path / "a")
    assert metadata == {"key": "värde"}
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    tensors = examples()
    write_safetensors(tmp_path / "a", tensors, {"key": "värde"})
    found = package_torch.load_file(tmp_path / "a")
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with package.safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == {"key": "värde"}


def test_metadata_may_be_left_out(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a", {"w": torch.ones(2)})
    assert read_safetensors(tmp_path / "a")[1] == {}


def test_tensors_do_not_share_memory(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a", {"a": torch.ones(2), "b": torch.ones(2)})
    found, _ = read_safetensors(tmp_path / "a")
    found["a"].zero_()
    assert torch.equal(found["b"], torch.ones(2))


@pytest.mark.parametrize("kept", [0, 5, 8, 40, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    write_safetensors(tmp_path / "a", {"weight": torch.ones(20)})
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[:kept])
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'a'} is not a whole safetensors file"):
        read_safetensors(tmp_path / "a")


FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"w": {**FOUR, "dtype": "F4"}}, "w has type 'F4'; known are F64"),
        ({"w": {**FOUR, "shape": [2]}}, "w claims bytes 0 to 4"),
        ({"w": {**FOUR, "data_offsets": [4, 8]}}, "w claims bytes 4 to 8"),
        ({"w": FOUR, "v": FOUR}, "claims bytes 0 to 4"),
        ({"w": {**FOUR, "shape": [-1]}}, "entry of w"),
        ({"w": {"dtype": "F32", "shape": [1]}}, "entry of w"),
        ({"w": 3}, "entry of w"),
        ({"w": {**FOUR, "shape": [0], "data_offsets": [0, 0]}}, "take 0 bytes, but 4 follow"),
        ([], "not a table"),
        ("{", "not JSON"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: object, message: str) -> None:
    text = (header if isinstance(header, str) else json.dumps(header)).ljust(8).encode()
    (tmp_path / "a").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(CheckpointError, match=message):
        read_safetensors(tmp_path / "a")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_safetensors(tmp_path / "none")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_safetensors(tmp_path / "a", {"w": torch.ones(2)})

    def fail(_: object) -> bytearray:
        raise OSError("disk full")

    monkeypatch.setattr(ours, "to_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_safetensors(tmp_path / "a", {"w": torch.zeros(2)})
    assert torch.equal(read_safetensors(tmp_path / "a")[0]["w"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
