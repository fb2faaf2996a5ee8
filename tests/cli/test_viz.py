"""`franca viz` from the words of the command line to the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from franca.cli.main import main
from franca.features.backbone import open_backbone
from franca.models.fingerprint import fingerprint
from franca.models.projector import Projector
from franca.models.projector_file import ProjectorFile
from tests.cli.test_eval import MODEL, folder

KINDS = ("pca", "attention", "neighbours")
DRAWN = ["synthetic.num_val_images=20", "synthetic.size_px=16", "image_size_px=24", "num_images=3"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "viz_test_models.py").write_text(
        MODEL + "\ndef flat():\n    from torch import nn\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def viz(kind: str, *words: str, model: str = "viz_test_models:tiny") -> int:
    return main(["viz", kind, model, *words, "device=cpu", "precision=fp32"])


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_images_twice_the_same(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["k=1", "workers=0"] if kind == "neighbours" else []
    assert viz(kind, "synthetic", "first", *DRAWN, *few) == 0
    assert "wrote 3 pictures and first/sheet.png" in capsys.readouterr().out
    assert viz(kind, "synthetic", "again", *DRAWN, *few) == 0
    names = sorted(path.name for path in Path("first").iterdir())
    assert len(names) == 4 and "sheet.png" in names
    for name in names:
        assert Path("first", name).read_bytes() == Path("again", name).read_bytes()
        assert len(np.unique(np.asarray(Image.open(Path("first", name))))) > 50


@pytest.mark.parametrize("kind", ["pca", "attention"])
def test_a_single_image_keeps_its_shape(kind: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("Wide.JPG")
    assert viz(kind, "Wide.JPG", "out", "image_size_px=64") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000_Wide.png", "sheet.png"]
    assert viz(kind, "Wide.JPG", "out", "image_size_px=[32,64]", "fit=crop") == 0


def test_a_folder_with_rasa(tmp_path: Path) -> None:
    images = folder(tmp_path / "images", {"blue": 1, "red": 2})
    backbone = open_backbone("viz_test_models:tiny")
    projector = Projector.removing(torch.randn(4, 32))
    ProjectorFile(projector, fingerprint(backbone)).write("rasa.safetensors")
    assert viz("pca", images, "raw") == 0
    assert viz("pca", images, "both", "rasa=rasa.safetensors") == 0
    assert viz("neighbours", images, "near", "rasa=rasa.safetensors", "k=1", "workers=0", "num_images=6") == 0
    widths = [Image.open(Path(name, "00000_blue_0.png")).width for name in ("raw", "both")]
    assert widths[1] > widths[0]
    assert Path("near/00002_red_1.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pca", "nowhere", "out"], "nowhere"),
        (["pca", "synthetic", "viz_test_models.py"], "is a file; expected the name of a folder"),
        (["pca", "synthetic", "out", "foregound=true"], "did you mean foreground?"),
        (["pca", "synthetic", "out", "fit=squash"], "keep, crop, stretch"),
        (["pca", "synthetic", "out", "image_size_px=13"], "multiple of the model's patch size, 8 px"),
        (["attention", "synthetic", "out", "rasa=file"], "not attention"),
        (["neighbours", "synthetic", "out", "k=0"], "k"),
        (["neighbours", "synthetic", "out", "points=[0.5,2]"], "points"),
    ],
)
def test_wrong_use_is_one_message_and_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert viz(*words) == 2
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_patches_is_told(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert viz(kind, "synthetic", "out", *DRAWN, model="viz_test_models:flat") == 2
    printed = capsys.readouterr().err
    assert "viz_test_models:flat" in printed and "Traceback" not in printed
