from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from franca.cli.export import parse_size
from franca.cli.main import main
from franca.export import torch_file
from franca.export.formats import FORMATS
from franca.models.fingerprint import fingerprint
from franca.models.hub import load
from franca.models.projector import Projector
from franca.models.projector_file import ProjectorFile
from franca.models.safetensors import read_safetensors
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import save_backbone
from tests.export.models import build

SIZES = {"hf": "16"}  # all others can express a rectangle


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.safetensors"
    save_backbone(path, build(num_registers=2, ffn="swiglu"), mean=(0, 0, 0), std=(1, 1, 1), image_size_px=12)
    return str(path)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_from_start_to_end(
    name: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written, read back by its own program in a fresh process, compared, and put in place."""
    out = tmp_path / f"out{(*FORMATS[name].suffixes, '')[0]}"
    size = SIZES.get(name, "16x8")
    assert main(["export", model, str(out), "--format", name, "--size", size, "--tolerance", "1e-5"]) == 0
    text = capsys.readouterr().out
    assert f"wrote {out}: " in text
    assert f"{FORMATS[name].packages[0]} " in text
    assert f"random images of {'16x16' if name == 'hf' else '16x8'}" in text
    assert all(f"{output} " in text for output in ("cls", "patches", "registers"))
    assert str(out) in text.splitlines()[-1] or str(out) in text.splitlines()[3]
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", out.name}


def test_beyond_the_tolerance_is_exit_code_1(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_wrong(backbone: VisionTransformer, path: Path) -> None:
        torch.save({name: tensor * 1.01 for name, tensor in backbone.state_dict().items()}, path)

    monkeypatch.setattr(torch_file, "write", write_wrong)
    assert main(["export", model, str(tmp_path / "a.pth"), "--format", "torch"]) == 1
    assert "differs from franca: cls by" in capsys.readouterr().err
    assert not (tmp_path / "a.pth").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--format", "torch", "--size", "13"], "13x13 is not a multiple of the model's patch, 4 px: try 12x12"),
        (["--format", "torch", "--size", "big"], "'big' is no size: give one number, or HEIGHTxWIDTH"),
        (["--format", "onnx"], "format onnx is a file whose name ends with .onnx"),
        (["--format", "tf"], "invalid choice: 'tf'"),
        ([], "required: --format"),
    ],
)
def test_wrong_use(
    arguments: list[str], expected: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", model, str(tmp_path / "a.pth"), *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors"}


def test_a_file_that_exists(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path(model).read_bytes()
    assert main(["export", model, model, "--format", "safetensors"]) == 2
    assert "exists: name another place, or replace it with --overwrite" in capsys.readouterr().err
    assert Path(model).read_bytes() == before


def test_a_model_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "torch.nn:Identity", str(tmp_path / "a.pth"), "--format", "torch"]) == 2
    assert "Identity, but only backbones of franca can be exported" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("280x224", (280, 224))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "224x", "-14", "14.5", "14X28"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no size"):
        parse_size(text)


@pytest.fixture
def projector(model: str, tmp_path: Path) -> str:
    path = tmp_path / "rasa.safetensors"
    directions = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    ProjectorFile(Projector.removing(directions), fingerprint(load(model))).write(path)
    return str(path)


def test_with_a_projector(model: str, projector: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A graph has patch tokens without position as a further output, compared with the backbone's."""
    out = str(tmp_path / "a.onnx")
    assert main(["export", model, out, "--format", "onnx", "--size", "16x8", "--rasa", projector]) == 0
    text = capsys.readouterr().out
    assert "patches_rasa " in text and "cls, patches, registers, patches_rasa = onnxruntime" in text


def test_with_a_projector_folded_into_a_head(
    model: str, projector: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weight = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    torch.save({"weight": weight}, tmp_path / "head.pth")
    words = ["export", model, str(tmp_path / "a.pth"), "--format", "torch", "--rasa", projector]
    assert main([*words, "--fold-rasa", str(tmp_path / "head.pth")]) == 0
    assert "a_head.safetensors: head.pth for raw patch tokens" in capsys.readouterr().out
    images = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        found = load(model, rasa=projector).forward_features(images)
    folded = read_safetensors(tmp_path / "a_head.safetensors")[0]["weight"]
    expected = found["patch_token_rasa"] @ weight.T
    torch.testing.assert_close(found["x_norm_patchtokens"] @ folded.T, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rasa", "RASA"], "format torch holds the layers of a backbone, and no projector"),
        (["--fold-rasa", "RASA"], "--fold-rasa HEAD folds the projector of --rasa FILE into HEAD: give both"),
        (["--rasa", "RASA", "--fold-rasa", "RASA"], "is no linear layer"),
    ],
)
def test_wrong_use_of_a_projector(
    words: list[str], expected: str, model: str, projector: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [projector if word == "RASA" else word for word in words]
    assert main(["export", model, str(tmp_path / "a.pth"), "--format", "torch", *words]) == 2
    assert expected in capsys.readouterr().err
