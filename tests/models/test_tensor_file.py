from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from franca.errors import CheckpointError
from franca.models.safetensors import write_safetensors
from franca.models.tensor_file import read_tensors
from tests.models.released import in_pieces

STATE = {"a": torch.arange(3.0), "b.c": torch.ones(2, 2)}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"teacher": STATE},
        {"model": STATE, "optimizer": {"state": {}}, "epoch": 3},
        {"state_dict": STATE, "args": None},
        {"teacher": STATE, "student": {"a": torch.zeros(3)}},
    ],
)
@pytest.mark.parametrize("new_format", [True, False])
def test_containers(tmp_path: Path, content: dict[str, Any], new_format: bool) -> None:
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)
    tensors, metadata = read_tensors(tmp_path / "a.pth")
    assert metadata == {}
    assert list(tensors) == list(STATE)
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin", "a"])
def test_safetensors_by_content(tmp_path: Path, name: str) -> None:
    write_safetensors(tmp_path / name, STATE, {"key": "value"})
    tensors, metadata = read_tensors(tmp_path / name)
    assert metadata == {"key": "value"}
    assert torch.equal(tensors["a"], STATE["a"])


def test_the_first_of_pieces_reads_them_all(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pth")
    pieces = in_pieces(tmp_path / "a.pth", tmp_path)
    (tmp_path / "a.pth").unlink()
    assert torch.equal(read_tensors(pieces[0])[0]["a"], STATE["a"])
    assert sorted(tmp_path.iterdir()) == pieces


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize(
    ("thing", "named"), [(argparse.Namespace(a=1), "argparse.Namespace"), (Evil(), "touch|pathlib|getattr")]
)
def test_no_code_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thing: object, named: str, new_format: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"teacher": STATE, "x": thing}, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=f"a.pth needs .*({named}).* to be read. Only plain tensors"):
        read_tensors(tmp_path / "a.pth")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, -5])
def test_a_file_cut_short(tmp_path: Path, new_format: bool, kept: float) -> None:
    torch.save({"a": torch.ones(10_000)}, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(
        CheckpointError, match=r"a.pth is (damaged, cut short|no checkpoint).*[Cc]opy or download it again"
    ):
        read_tensors(tmp_path / "a.pth")


def test_damaged_bytes(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pth")
    content = bytearray((tmp_path / "a.pth").read_bytes())
    begin = content.find(b"data.pkl") + 40
    content[begin : begin + 20] = b"\xff" * 20
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_tensors(tmp_path / "a.pth")


def test_other_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.txt", "a")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>404</html>")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html><html>404</html>")
    for name, message in (
        ("a.zip", "not of torch.save"),
        ("page.pth", "is no checkpoint: it starts with b'<!DOCTYPE"),
        ("a.pkl", "damaged, cut short or not of torch.save"),
        ("page.safetensors", "not a whole safetensors file"),
        ("none", "Cannot read .*none: No such file"),
        (".", "Cannot read"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_tensors(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds a list; expected a state dict"),
        (torch.ones(1), "holds a Tensor; expected a state dict"),
        ({}, "nothing is no tensor"),
        ({"student": STATE}, "holds no state dict: student is no tensor.*teacher, model, state_dict"),
        ({"teacher": {**STATE, "epoch": 3}}, "epoch is no tensor"),
    ],
)
def test_contents_that_are_no_state_dict(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message):
        read_tensors(tmp_path / "a.pth")


class System:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("true",))


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize(("protocol", "named"), [(2, "(posix|nt).system"), (4, "pickle protocol 4|(posix|nt).system")])
def test_what_torch_blocks_is_told_as_code(tmp_path: Path, protocol: int, named: str, new_format: bool) -> None:
    torch.save({"x": System()}, tmp_path / "a", pickle_protocol=protocol, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=f"needs ({named}) to be read"):
        read_tensors(tmp_path / "a")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_told_as_code(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="needs TorchScript to be read"):
        read_tensors(tmp_path / "a.pt")
