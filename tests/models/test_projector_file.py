"""Written and read again; of another backbone, or damaged, it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from franca.errors import CheckpointError
from franca.models.projector import Projector
from franca.models.projector_file import METADATA_KEY, ProjectorFile, read_projector, read_projector_file
from franca.models.safetensors import read_safetensors, write_safetensors

HASH = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "rasa.safetensors"
    basis = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    ProjectorFile(Projector.removing(basis), HASH, {"iterations": 2}, [{"iteration": 0, "r2": 0.5}]).write(file)
    return file


def test_round_trip(path: Path) -> None:
    found = read_projector_file(path)
    assert found.projector.rank == 12 and found.projector.basis.dtype == torch.float64
    assert (found.fingerprint, found.settings, found.table) == (HASH, {"iterations": 2}, ({"iteration": 0, "r2": 0.5},))
    assert torch.equal(read_projector(path, HASH).basis, found.projector.basis)
    assert path.stat().st_size < 2000
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_projector_that_removes_nothing(tmp_path: Path) -> None:
    ProjectorFile(Projector.removing(torch.zeros(0, 16)), HASH).write(tmp_path / "a")
    assert read_projector(tmp_path / "a", HASH).rank == 16


def test_of_another_backbone(path: Path) -> None:
    with pytest.raises(CheckpointError, match="another backbone: on weights with hash abababababab, these have cdcdcd"):
        read_projector(path, "cd" * 32)


def test_other_files(path: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Cannot read"):
        read_projector(tmp_path / "none", HASH)
    write_safetensors(tmp_path / "other", {"x": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="holds no projector"):
        read_projector(tmp_path / "other", HASH)


def test_damaged_files(path: Path) -> None:
    tensors, metadata = read_safetensors(path)
    write_safetensors(path, {"basis": tensors["basis"] * 1.001}, metadata)
    with pytest.raises(CheckpointError, match=r"basis \[4, 16\] is not orthonormal"):
        read_projector(path, HASH)
    write_safetensors(path, {"basis": tensors["basis"][0]}, metadata)
    with pytest.raises(CheckpointError, match=r"basis \[16\] is not orthonormal"):
        read_projector(path, HASH)
    write_safetensors(path, tensors, {METADATA_KEY: json.dumps({"fingerprint": HASH})})
    with pytest.raises(CheckpointError, match="description lacks 'settings'"):
        read_projector(path, HASH)
