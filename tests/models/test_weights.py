from __future__ import annotations

from pathlib import Path

import pytest
import torch

from franca.errors import CheckpointError
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import (
    METADATA_KEY,
    Preprocessing,
    load_backbone,
    read_safetensors,
    save_backbone,
    write_safetensors,
)
from tests.models import reference


@pytest.fixture
def backbone() -> VisionTransformer:
    model = VisionTransformer(width=8, depth=1, num_heads=2, patch_size_px=4, image_size_px=8, num_registers=1)
    reference.randomize(model)
    return model


@pytest.fixture
def path(backbone: VisionTransformer, tmp_path: Path) -> Path:
    path = tmp_path / "teacher.safetensors"
    save_backbone(path, backbone, mean=(0.1, 0.2, 0.3), std=(1, 2, 3), image_size_px=40, step=7, arch="vit_tiny")
    return path


def test_a_saved_backbone_comes_back(backbone: VisionTransformer, path: Path) -> None:
    found = load_backbone(path)
    assert found.config == backbone.config
    assert not found.training
    assert all(p.requires_grad for p in found.parameters())
    assert found.preprocessing == Preprocessing(image_size_px=40, mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    assert found.export_info == {"step": 7, "arch": "vit_tiny"}
    images = torch.randn(2, 3, 12, 8)
    assert torch.equal(found(images), backbone(images))


def test_mismatches_are_named(path: Path) -> None:
    tensors, metadata = read_safetensors(path)
    tensors["extra"] = tensors.pop("norm.bias")
    tensors["pos_embed"] = tensors["pos_embed"][:, :3]
    write_safetensors(path, tensors, metadata)
    expected = r"missing: norm.bias; unknown: extra; wrong shape: pos_embed \[1, 3, 8\] instead of \[1, 5, 8\]"
    with pytest.raises(CheckpointError, match=expected):
        load_backbone(path)


@pytest.mark.parametrize("description", ["{", "{}", '{"architecture": {"width": 8}}'])
def test_descriptions_that_cannot_be_built(path: Path, description: str) -> None:
    tensors, _ = read_safetensors(path)
    write_safetensors(path, tensors, {METADATA_KEY: description})
    with pytest.raises(CheckpointError, match="cannot build"):
        load_backbone(path)


def test_tensors_of_something_else(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a", {"w": torch.ones(2)})
    with pytest.raises(CheckpointError, match="no exported backbone"):
        load_backbone(tmp_path / "a")
