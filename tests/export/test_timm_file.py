from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from franca.errors import ExportError
from franca.export import timm_file
from franca.models.registry import build_backbone
from franca.models.safetensors import read_safetensors
from tests.export.models import KINDS, RECTANGLE_PX, SQUARE_PX, build, round_trip
from tests.models import reference

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("size_px", [SQUARE_PX, RECTANGLE_PX])
@pytest.mark.parametrize("options", KINDS)
def test_timm_computes_the_same(options: dict[str, object], size_px: tuple[int, int], tmp_path: Path) -> None:
    outputs = round_trip("timm", build(image_size_px=size_px, **options), tmp_path / "a.safetensors")
    assert set(outputs) == {"cls", "patches"} | ({"registers"} if options["num_registers"] else set())


@pytest.mark.parametrize("ffn_ratio", [2.5, 3.0])
@pytest.mark.parametrize("ffn", ["mlp", "swiglu"])
@pytest.mark.parametrize("num_registers", [0, 1])
def test_unusual_sizes(ffn: str, ffn_ratio: float, num_registers: int, tmp_path: Path) -> None:
    """A ratio whose hidden layer a float could miss by one, one channel, other than four registers."""
    model = build(width=20, ffn=ffn, ffn_ratio=ffn_ratio, num_registers=num_registers, in_chans=1)
    round_trip("timm", model, tmp_path / "a.safetensors")


def test_the_line_in_the_file_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(num_registers=2, ffn="swiglu")
    timm_file.write(model, tmp_path / "a.safetensors")
    _, metadata = read_safetensors(tmp_path / "a.safetensors")
    monkeypatch.chdir(tmp_path)
    theirs = eval(metadata["create_model"], {"timm": timm}).eval()
    images = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(theirs(images), model(images), rtol=1e-5, atol=1e-5)
    prepared = timm.data.resolve_model_data_config(theirs)
    assert prepared["input_size"] == (3, 12, 12)
    assert (prepared["mean"], prepared["std"]) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert prepared["interpolation"] == "bicubic"


@pytest.mark.parametrize("num_registers", [0, 4])
def test_a_real_size_needs_no_more_than_its_name(num_registers: int, tmp_path: Path) -> None:
    model = build_backbone("vit_small", patch_size_px=14, image_size_px=28, num_registers=num_registers).eval()
    reference.randomize(model)
    timm_file.write(model, tmp_path / "a.safetensors")
    name = f"vit_small_patch14_{'reg4_' if num_registers else ''}dinov2"
    theirs = timm.create_model(name, img_size=28, checkpoint_path=str(tmp_path / "a.safetensors")).eval()
    images = torch.randn(1, 3, 28, 28)
    torch.testing.assert_close(theirs(images), model(images), rtol=1e-4, atol=1e-4)
    arguments = timm_file.create_model_arguments(model)
    assert set(arguments) == {"model_name", "img_size", "num_classes", "pretrained_cfg_overlay"}
    assert arguments["model_name"] == name


def swap_gate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.roll(len(tensor) // 2, 0) if "fc1" in name else tensor for name, tensor in state.items()}


def forget_class_position(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "cls_token": torch.zeros_like(state["cls_token"])}


def lose_a_bias(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "blocks.1.attn.proj.bias": torch.zeros_like(state["blocks.1.attn.proj.bias"])}


@pytest.mark.parametrize("damage", [swap_gate, forget_class_position, lose_a_bias])
def test_a_wrong_conversion_is_found(
    damage: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert: Any = timm_file.to_timm
    monkeypatch.setattr(timm_file, "to_timm", lambda state: damage(convert(state)))
    with pytest.raises(ExportError, match="differs from franca"):
        round_trip("timm", build(ffn="swiglu", num_registers=4), tmp_path / "a.safetensors", tolerance=1e-3)


def test_a_missing_parameter_is_an_error_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert: Any = timm_file.to_timm
    monkeypatch.setattr(
        timm_file, "to_timm", lambda state: {k: v for k, v in convert(state).items() if k != "norm.bias"}
    )
    with pytest.raises(RuntimeError, match=r"Missing key.*norm.bias"):
        round_trip("timm", build(), tmp_path / "a.safetensors")
