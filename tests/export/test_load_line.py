from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import franca
from franca.export import timm_file, torch_file
from franca.export.load_line import load_line
from tests.export.models import build


@pytest.mark.parametrize("module", [timm_file, torch_file])
@pytest.mark.parametrize("num_registers", [0, 2])
@pytest.mark.parametrize("interpolation", ["size", "offset"])
def test_the_line_loads_the_same_function(
    module: Any, num_registers: int, interpolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(image_size_px=(8, 12), num_registers=num_registers, position_interpolation=interpolation)
    path = tmp_path / ("a.safetensors" if module is timm_file else "a.pth")
    module.write(model, path)
    line = load_line(model, path)
    assert line in module.usage(model, path)
    usual = (interpolation == "size") == (num_registers > 0)
    assert ("position_interpolation" in line) != usual
    images = torch.randn(1, 3, 20, 16)
    torch.testing.assert_close(eval(line, {"franca": franca})(images), model(images), rtol=1e-5, atol=1e-5)


def test_what_is_usual_is_not_told() -> None:
    model = build(width=64, num_heads=1, position_interpolation="offset")
    assert load_line(model, Path("a.pth")) == "franca.load('a.pth')"
