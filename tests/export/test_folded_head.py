"""The layer on raw tokens against the layer behind the projector."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from franca.errors import CheckpointError, ConfigError, ExportError
from franca.export.folded_head import check_folded_place, fold_head, folded_path
from franca.models.projector import Projector
from franca.models.safetensors import read_safetensors
from tests.models.reference import randomize

PROJECTOR = Projector.removing(torch.randn(4, 16, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("layer", [nn.Linear(16, 3), nn.Linear(16, 3, bias=False), nn.Conv2d(16, 3, 1)])
@pytest.mark.parametrize("prefix", ["", "head.conv_seg."])
def test_the_same_predictions(layer: nn.Module, prefix: str, tmp_path: Path) -> None:
    randomize(layer)
    torch.save({prefix + name: tensor for name, tensor in layer.state_dict().items()}, tmp_path / "head.pth")
    folded = fold_head(tmp_path / "head.pth", PROJECTOR, tolerance=1e-5)
    place = folded.write(tmp_path / "model.onnx")
    assert place == tmp_path / "model_head.safetensors" and folded.difference < 1e-5
    tensors, _ = read_safetensors(place)
    tokens = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(1))
    inputs = tokens.mT[..., None] if isinstance(layer, nn.Conv2d) else tokens
    cleaned = PROJECTOR(tokens).mT[..., None] if isinstance(layer, nn.Conv2d) else PROJECTOR(tokens)
    with torch.no_grad():
        expected, raw = layer(cleaned), layer(inputs)
        layer.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, strict=True)
        torch.testing.assert_close(layer(inputs), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(raw, expected, atol=0.1)


@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": torch.zeros(3, 16), "norm.weight": torch.zeros(16)},
        {"weight": torch.zeros(3, 16, 3, 3)},
        {"weight": torch.zeros(16)},
        {"weight": torch.zeros(3, 16), "running_mean": torch.zeros(16)},
        {"kernel": torch.zeros(3, 16)},
    ],
)
def test_what_is_no_linear_layer(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "head.pth")
    with pytest.raises(CheckpointError, match="is no linear layer"):
        fold_head(tmp_path / "head.pth", PROJECTOR, tolerance=1)


def test_another_width_too_little_tolerance_and_a_file_that_exists(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3, 8)}, tmp_path / "head.pth")
    with pytest.raises(CheckpointError, match="width 8, the backbone has 16"):
        fold_head(tmp_path / "head.pth", PROJECTOR, tolerance=1)
    torch.save({"weight": torch.randn(3, 16)}, tmp_path / "head.pth")
    with pytest.raises(ExportError, match="raise --tolerance"):
        fold_head(tmp_path / "head.pth", PROJECTOR, tolerance=0)
    folded_path(tmp_path / "a").touch()
    with pytest.raises(ConfigError, match="exists"):
        check_folded_place(tmp_path / "a", overwrite=False)
    check_folded_place(tmp_path / "a", overwrite=True)
