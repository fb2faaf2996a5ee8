from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from franca.errors import CheckpointError, ConfigError, ExportError
from franca.export import transformers_folder
from franca.features.preprocess import bring_to, normalise
from franca.models.safetensors import read_safetensors, write_safetensors
from tests.export.models import KINDS, RECTANGLE_PX, build, round_trip

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("options", KINDS)
def test_transformers_computes_the_same(options: dict[str, object], tmp_path: Path) -> None:
    outputs = round_trip("hf", build(**options), tmp_path / "a")
    assert set(outputs) == {"cls", "patches"} | ({"registers"} if options["num_registers"] else set())
    name = "Dinov2WithRegistersModel" if options["num_registers"] else "Dinov2Model"
    assert type(transformers.AutoModel.from_pretrained(tmp_path / "a")).__name__ == name


def test_unusual_sizes(tmp_path: Path) -> None:
    round_trip("hf", build(width=20, ffn="swiglu", ffn_ratio=3.0, in_chans=1, num_registers=1), tmp_path / "a")


def test_their_image_processor_prepares_as_ours(tmp_path: Path) -> None:
    transformers_folder.write(build(), tmp_path / "a")
    image = torch.randint(256, (3, 40, 61), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "a")
    found = torch.as_tensor(np.asarray(processor(images=[image])["pixel_values"]))
    preprocessing = build().preprocessing
    expected = normalise(bring_to(image, (12, 12))[None], preprocessing.mean, preprocessing.std)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)  # bytes may round to a neighbour: 1 / 255 / 0.4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"image_size_px": RECTANGLE_PX}, "square, not for 8x12"),
        ({"ffn_ratio": 2.5}, "a whole number, not 2.5"),
        ({"ffn_ratio": 2.5, "image_size_px": RECTANGLE_PX}, "square, not for 8x12.*a whole number, not 2.5"),
    ],
)
def test_what_it_cannot_express(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=expected):
        transformers_folder.write(build(**options), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_other_sizes() -> None:
    """Only with registers and without offset do theirs and ours resize positions alike."""
    assert "AutoModel" in transformers_folder.usage(build(), Path("a"))
    assert "sizes other than 12x12" in transformers_folder.usage(build(), Path("a"))
    assert "sizes other" in transformers_folder.usage(
        build(num_registers=1, position_interpolation="offset"), Path("a")
    )
    assert "sizes other" not in transformers_folder.usage(build(num_registers=1), Path("a"))
    assert "export with --size 12" in transformers_folder.usage(build(image_size_px=24), Path("a"))


@pytest.mark.parametrize(("registers", "same"), [(4, True), (0, False)])
def test_other_sizes_as_the_note_says(registers: int, same: bool, tmp_path: Path) -> None:
    model = build(num_registers=registers)
    transformers_folder.write(model, tmp_path / "a")
    read = transformers_folder.load(tmp_path / "a", model.config)
    images = torch.randn(1, 3, 20, 8)
    assert torch.allclose(read(images)["patches"], model.features(images).patches, rtol=1e-4, atol=1e-4) == same


def test_a_wrong_conversion_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap_query_and_key(state: dict[str, Tensor]) -> dict[str, Tensor]:
        swapped = {"query": "value", "value": "query"}
        return {
            ".".join(swapped.get(part, part) for part in name.split(".")): tensor
            for name, tensor in convert(state).items()
        }

    convert: Any = transformers_folder.to_transformers
    monkeypatch.setattr(transformers_folder, "to_transformers", swap_query_and_key)
    with pytest.raises(ExportError, match="differs from franca"):
        round_trip("hf", build(), tmp_path / "a", tolerance=1e-3)


@pytest.mark.parametrize(("lost", "added"), [("layernorm.bias", ""), ("", "head.bias")])
def test_what_transformers_only_warns_about_is_refused(lost: str, added: str, tmp_path: Path) -> None:
    model = build()
    transformers_folder.write(model, tmp_path / "a")
    path = tmp_path / "a" / "model.safetensors"
    state, metadata = read_safetensors(path)
    state.pop(lost, None)
    if added:
        state[added] = torch.ones(1)
    write_safetensors(path, state, metadata)
    with pytest.raises(CheckpointError, match=lost or added):
        transformers_folder.load(tmp_path / "a", model.config)


def test_the_files(tmp_path: Path) -> None:
    transformers_folder.write(build(), tmp_path / "a")
    assert {file.name for file in (tmp_path / "a").iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert (config["image_size"], config["patch_size"], config["hidden_size"]) == (12, 4, 16)
