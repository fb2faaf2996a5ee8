"""``franca rasa`` from a model and images to a file, and from there into a backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import franca
from franca.cli.main import main
from franca.cli.rasa_options import read_options
from franca.errors import ConfigError
from franca.models.projector_file import read_projector_file
from franca.models.weights import save_backbone
from tests.distributed.launch import launch
from tests.export.models import build

DRAWN = ["data=synthetic", "synthetic.num_images=12", "synthetic.size_px=16", "workers=0", "device=cpu"]
FEW = ["iterations=2", "epochs=1", "batch_images=4"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRANCA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.safetensors"
    save_backbone(path, build(num_registers=2), mean=(0, 0, 0), std=(1, 1, 1), image_size_px=12)
    return str(path)


@pytest.mark.parametrize("words", [FEW, ["solver=lbfgs", "iterations=2"], ["rasa.directions=covariance"]])
def test_fit_and_use(words: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "rasa.safetensors"
    assert main(["rasa", "fit", model, *DRAWN, f"out={out}", "image_size_px=[12,16]", *words]) == 0
    removed = 2 if words == ["rasa.directions=covariance"] else 4
    text = capsys.readouterr().out
    assert f"wrote {out}: rank {16 - removed} of 16" in text and "energy removed" in text
    file = read_projector_file(out)
    assert file.settings["num_images"] == 12 and file.settings["grid"] == [3, 4]
    assert [row["iteration"] for row in file.table] == list(range(removed // 2 + 1))
    images = torch.randn(2, 3, 8, 12)
    raw, found = (franca.load(model, **how).forward_features(images) for how in ({}, {"rasa": out}))  # type: ignore[arg-type]
    assert "patch_token_rasa" not in raw
    assert torch.equal(found["x_norm_patchtokens"], raw["x_norm_patchtokens"])
    assert torch.equal(found["x_norm_clstoken"], raw["x_norm_clstoken"])
    torch.testing.assert_close(found["patch_token_rasa"], file.projector(raw["x_norm_patchtokens"]))
    assert main(["rasa", "show", str(out)]) == 0
    text = capsys.readouterr().out
    assert f"rank {16 - removed} of 16, for weights with hash {file.fingerprint}" in text and "energy removed" in text


def test_a_score_after_every_round(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rasa.safetensors"
    words = [*DRAWN, "score=synthetic", "synthetic.num_val_images=12", "stop=best", *FEW]
    assert main(["rasa", "fit", model, f"out={out}", *words]) == 0
    scores = [row["score"] for row in read_projector_file(out).table]
    assert all(0 <= score <= 1 for score in scores)
    assert read_projector_file(out).projector.rank == 16 - 2 * scores.index(max(scores))
    assert "mIoU" in capsys.readouterr().out


def test_a_folder_of_images_without_labels(model: str, tmp_path: Path) -> None:
    for index in range(4):
        Image.new("RGB", (20 + index, 16), (index * 60, 90, 200)).save(tmp_path / f"{index}.png")
    out = tmp_path / "rasa.safetensors"
    assert main(["rasa", "fit", model, f"data={tmp_path}", f"out={out}", "directions=covariance", "device=cpu"]) == 0


def test_a_model_of_another_library(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    out = tmp_path / "rasa.safetensors"
    words = [*DRAWN, "pretrained=false", "directions=covariance", "image_size_px=224"]
    assert main(["rasa", "fit", "timm:vit_tiny_patch16_224", f"out={out}", *words]) == 0
    assert read_projector_file(out).projector.rank == 190


def test_convert_a_released_head(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    names = [*(f"pre_pos_layers.{index}.weight" for index in range(3)), "pos_pred.weight"]
    torch.save({name: torch.randn(2, 16, generator=generator) for name in names}, tmp_path / "head.pth")
    out = tmp_path / "rasa.safetensors"
    assert main(["rasa", "convert", str(tmp_path / "head.pth"), model, f"out={out}"]) == 0
    assert "4 rounds, rank 8 of 16" in capsys.readouterr().out
    tokens = franca.load(model, rasa=out).forward_features(torch.randn(1, 3, 12, 12))["patch_token_rasa"]
    row = torch.load(tmp_path / "head.pth")["pre_pos_layers.0.weight"][0]
    assert (tokens @ row).abs().max() < 1e-5
    assert main(["rasa", "convert", str(tmp_path / "head.pth"), "franca_vits14", f"out={out}", "x=1"]) == 2
    assert main(["rasa", "convert", model, model, f"out={out}"]) == 2
    assert "is no RASA head" in capsys.readouterr().err


def test_the_projector_of_another_model(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rasa.safetensors"
    assert main(["rasa", "fit", model, *DRAWN, f"out={out}", "directions=covariance"]) == 0
    other = build(num_registers=2)
    with torch.no_grad():
        other.norm.bias += 1
    save_backbone(model, other, mean=(0, 0, 0), std=(1, 1, 1), image_size_px=12)
    with pytest.raises(ValueError, match="was fitted on another backbone"):
        franca.load(model, rasa=out)
    assert main(["eval", "position", model, "train=synthetic", "val=synthetic", f"rasa={out}"]) == 2
    assert "was fitted on another backbone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit"], "expected MODEL, found none: franca rasa fit MODEL data=SRC"),
        (["fit", "MODEL"], "data=SRC and out=FILE missing"),
        (["fit", "MODEL", "data=synthetic", "out=OUT", "stop=best"], "stop=best needs score=SRC"),
        (["fit", "MODEL", "data=synthetic", "out=OUT", "iteration=3"], "iteration"),
        (["fit", "MODEL", "data=synthetic", "out=OUT", "iterations=0"], "iterations"),
        (["fit", "MODEL", "data=nowhere", "out=OUT"], "nowhere"),
        (["fit", "torch.nn:Flatten", *DRAWN, "out=OUT"], "gives no patch embeddings"),
        (["show", "MODEL"], "holds no projector"),
        (["convert", "MODEL"], "expected HEAD and MODEL, found"),
        (["fold"], "invalid choice"),
    ],
)
def test_wrong_use(
    words: list[str], expected: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rasa.safetensors"
    given = [word.replace("MODEL", model).replace("OUT", str(out)) for word in words]
    assert main(["rasa", *given]) == 2
    assert expected in capsys.readouterr().err
    assert not out.exists()


def test_plain_and_dotted_options_are_the_same() -> None:
    needed = ["data=a", "out=b"]
    plain = read_options([*needed, "solver=lbfgs", "batch_size=4", "masks=SegmentationSuper", "seed=3"])
    dotted = ["rasa.solver=lbfgs", "features.batch_size=4", "images.masks=SegmentationSuper", "rasa.seed=3"]
    assert plain == read_options([*needed, *dotted])
    assert (plain.rasa.solver, plain.features.batch_size, plain.rasa.seed) == ("lbfgs", 4, 3)
    with pytest.raises(ConfigError, match="solver"):
        read_options([*needed, "solver=newton"])


@pytest.mark.slow
def test_two_ranks_write_what_one_writes(model: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{world}.safetensors" for world in (1, 2)]
    for world, out in zip((1, 2), files, strict=True):
        words = ["rasa", "fit", model, *DRAWN, f"out={out}", *FEW, "cache=false"]
        launcher = launch(words, world=world, log=tmp_path / f"log{world}")
        launcher.join()
        assert launcher.exitcode == 0, (tmp_path / f"log{world}.0").read_text()
    one, two = (read_projector_file(path).projector.matrix for path in files)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-3)
