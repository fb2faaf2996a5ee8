from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import franca
from franca.errors import ConfigError, ExportError
from franca.export import export_backbone as exporting
from franca.export import torch_file
from franca.export.export_backbone import check_place, export_backbone
from franca.models.vision_transformer import VisionTransformer
from tests.export.models import build


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every export for a good one."""
    monkeypatch.setattr(exporting, "verify", lambda *_, **__: {"cls": 0.0})


@pytest.mark.usefixtures("no_process")
def test_what_comes_out(tmp_path: Path) -> None:
    model = build(position_interpolation="offset").bfloat16()
    done = export_backbone(model, tmp_path / "new" / "a.safetensors", "safetensors", size_px=(20, 8))
    assert done.path == tmp_path / "new" / "a.safetensors"
    assert (done.size_px, done.num_bytes) == ((20, 8), done.path.stat().st_size)
    assert done.usage == f"franca.load({str(done.path)!r})"
    assert [file.name for file in done.path.parent.iterdir()] == ["a.safetensors"]
    found = franca.load(done.path)
    assert found.config["image_size_px"] == [20, 8]
    images = torch.randn(1, 3, 20, 8)
    torch.testing.assert_close(found(images), model.float()(images))


@pytest.mark.usefixtures("no_process")
def test_the_model_given_stays(tmp_path: Path) -> None:
    model = build().half()
    export_backbone(model, tmp_path / "a.pth", "torch")
    assert model.pos_embed.dtype == torch.float16


@pytest.mark.usefixtures("no_process")
def test_without_a_size_the_preprocessing_stays(tmp_path: Path) -> None:
    export_backbone(build(image_size_px=24), tmp_path / "a.safetensors", "safetensors")
    assert franca.load(tmp_path / "a.safetensors").preprocessing.image_size_px == 12


def test_a_wrong_export_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that swaps query and key of one block, read by a process of its own."""
    write: Any = torch_file.write

    def write_wrong(backbone: VisionTransformer, path: Path) -> None:
        wrong = build()
        wrong.load_state_dict(backbone.state_dict())
        with torch.no_grad():
            weight = wrong.blocks[0].attn.qkv.weight
            weight[:32] = weight[:32].roll(16, 0)
        write(wrong, path)

    monkeypatch.setattr(torch_file, "write", write_wrong)
    (tmp_path / "a.pth").write_text("older")
    with pytest.raises(ExportError, match="differs from franca"):
        export_backbone(build(), tmp_path / "a.pth", "torch", overwrite=True)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.pth", "older")]


@pytest.mark.parametrize(("name", "out"), [("torch", "a.pth"), ("hf", "a")])
def test_a_failure_leaves_nothing(name: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ExportError("differs")

    monkeypatch.setattr(exporting, "verify", fail)
    with pytest.raises(ExportError):
        export_backbone(build(), tmp_path / out, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_process")
def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    export_backbone(build(), tmp_path / "a.pth", "torch")
    with pytest.raises(ConfigError, match=r"a\.pth exists: .*--overwrite"):
        export_backbone(build(), tmp_path / "a.pth", "torch")
    export_backbone(build(width=32), tmp_path / "a.pth", "torch", overwrite=True)
    assert torch.load(tmp_path / "a.pth", weights_only=True)["norm.bias"].shape == (32,)


@pytest.mark.usefixtures("no_process")
def test_a_folder_keeps_what_else_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    export_backbone(build(), folder, "hf")  # an empty folder is free
    (folder / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        export_backbone(build(), folder, "hf")
    export_backbone(build(), folder, "hf", overwrite=True)
    names = {file.name for file in folder.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("name", "out", "expected"),
    [
        ("tflite", "a", "no format 'tflite'. Choose one of: safetensors, torch, timm, hf, onnx"),
        ("timm", "a.pth", "ends with .safetensors"),
        ("torch", "a", "ends with .pth or .pt"),
        ("onnx", "folder.onnx", "folder, but format onnx is a file"),
        ("hf", "file", "file, but format hf is a folder"),
    ],
)
def test_wrong_places(name: str, out: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=expected):
        check_place(tmp_path / out, name, overwrite=True)


@pytest.mark.parametrize("tolerance", [math.nan, math.inf, -1e-4])
def test_tolerances_that_are_none(tolerance: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--tolerance is {tolerance}, but must be a number from 0"):
        export_backbone(build(), tmp_path / "a.pth", "torch", tolerance=tolerance)


@pytest.mark.usefixtures("no_process")
def test_the_second_file_of_an_older_export_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    from franca.export import onnx_file

    monkeypatch.setattr(onnx_file, "write", lambda _, path: path.write_bytes(b"new"))
    (tmp_path / "a.onnx.data").write_bytes(b"old")
    with pytest.raises(ConfigError, match=r"a\.onnx\.data exists"):
        export_backbone(build(), tmp_path / "a.onnx", "onnx")
    export_backbone(build(), tmp_path / "a.onnx", "onnx", overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.usefixtures("no_process")
def test_paths_of_this_machine_stay_here(tmp_path: Path) -> None:
    model = build()
    model.export_info = {"source": "/home/me/weights.pth", "step": 7}
    done = export_backbone(model, tmp_path / "a.safetensors", "safetensors")
    assert franca.load(done.path).export_info == {"source": "weights.pth", "step": 7}
    assert model.export_info["source"] == "/home/me/weights.pth"
