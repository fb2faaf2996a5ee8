from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import franca
from franca.errors import CheckpointError, ConfigError
from franca.models.hub import load
from franca.models.registry import build_release
from franca.models.weights import save_backbone

TINY: dict[str, Any] = {"width": 16, "depth": 1, "num_heads": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder whose export is a small backbone of one of our names."""
    (tmp_path / "exports").mkdir()
    model = build_release("franca_vits14", **TINY, image_size_px=28)
    save_backbone(tmp_path / "exports" / "teacher.safetensors", model, mean=(0,) * 3, std=(1,) * 3, image_size_px=28)
    return tmp_path


def test_a_run_folder_and_its_export_are_the_same_backbone(run: Path) -> None:
    images = torch.randn(1, 3, 28, 28)
    found = [load(run), load(str(run)), load(run / "exports" / "teacher.safetensors"), franca.load(run)]
    assert all(torch.equal(one(images), found[0](images)) for one in found)
    assert not any(one.training for one in found)
    assert found[0].preprocessing.image_size_px == 28


def test_a_named_backbone_with_random_weights() -> None:
    model = load("franca_vits14", pretrained=False, **TINY, num_registers=4)
    assert not model.training
    assert model(torch.randn(1, 3, 28, 28)).shape == (1, 16)
    assert model.num_registers == 4


def test_a_named_backbone_with_weights_of_a_file(run: Path) -> None:
    for weights in (run, run / "exports" / "teacher.safetensors"):
        model = load("franca_vits14", weights=weights, **TINY)
        assert torch.equal(model.pos_embed, load(run).pos_embed)


def test_weights_of_another_architecture(run: Path) -> None:
    with pytest.raises(CheckpointError, match="not of franca_vitb14: width is 16 instead of 768"):
        load("franca_vitb14", weights=run)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("franca_vitb14", {}, CheckpointError, "no public weights.*pretrained=False"),
        (
            "franca_vitb41",
            {"pretrained": False},
            CheckpointError,
            "Did you mean franca_vitb1.*franca_vits14.*franca_vitg16",
        ),
        ("franca_vitb14", {"pretrained": False, "weights": "x"}, ConfigError, "contradict"),
        ("franca_vitb14", {"weights": "/none"}, CheckpointError, "/none: No such file"),
    ],
)
def test_wrong_use(name: str, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(name, **arguments)


def test_a_folder_without_an_export(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no exports/teacher.safetensors"):
        load(tmp_path)


def test_a_path_takes_no_overrides(run: Path) -> None:
    with pytest.raises(ConfigError, match="leave out pretrained=False, num_registers"):
        load(run, pretrained=False, num_registers=4)
