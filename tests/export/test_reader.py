from __future__ import annotations

import json
from pathlib import Path

import torch

from franca.export import reader, torch_file
from franca.models.safetensors import read_safetensors, write_safetensors
from tests.export.models import build


def test_outputs_of_every_batch(tmp_path: Path) -> None:
    model = build(num_registers=1)
    torch_file.write(model, tmp_path / "a.pth")
    batches = {"2": torch.randn(2, 3, 12, 12), "1": torch.randn(1, 3, 12, 12)}
    images, outputs = tmp_path / "images", tmp_path / "outputs"
    write_safetensors(images, batches, {reader.ARCHITECTURE_KEY: json.dumps(model.config)})
    reader.main("torch", str(tmp_path / "a.pth"), str(images), str(outputs))
    found, _ = read_safetensors(outputs)
    assert set(found) == {f"{batch}/{name}" for batch in ("1", "2") for name in ("cls", "patches", "registers")}
    for batch, given in batches.items():
        torch.testing.assert_close(found[f"{batch}/patches"], model.features(given).patches)
