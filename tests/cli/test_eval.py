"""`franca eval` from the words of the command line to the report."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from franca import assets
from franca.cli.eval import read_request
from franca.cli.main import main
from franca.errors import ConfigError

MODEL = """
from torch import nn
from franca.models.preprocessing import Preprocessing
from franca.models.vision_transformer import VisionTransformer

def tiny():
    model = VisionTransformer(width=32, depth=2, num_heads=2, patch_size_px=8, image_size_px=16, layer_scale=1.0)
    model.initialize(seed=0)
    model.preprocessing = Preprocessing(image_size_px=16)
    return model

def unmade():
    return nn.Linear(1, 1 / 0)

class Unusable(nn.Module):
    def forward(self, images):
        return images.missing
"""
FAST = ["workers=0", "device=cpu", "precision=fp32"]
DRAWN = ["train=synthetic", "val=synthetic", "synthetic.num_images=60", "synthetic.num_val_images=30"]

Run = Callable[..., int]


@pytest.fixture
def franca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``franca eval`` in a folder that holds ``models.py``."""
    (tmp_path / "eval_test_models.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda *words: main(["eval", *words])


def folder(root: Path, classes: dict[str, int]) -> str:
    """Class folders of plain colours with noise."""
    random = np.random.default_rng(len(classes))
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            colour = np.array([180 * (number == 0), 90, 180 * (number == 1)])
            pixels = colour + random.integers(0, 60, (20, 24, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")
    return str(root)


def test_both_protocols_in_one_call(franca: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    words = ["knn,linear", "eval_test_models:tiny", *DRAWN, f"out={out}", "prefixes=true", "epochs=2", *FAST]
    assert franca(*words) == 0
    report: dict[str, Any] = json.loads(out.read_text())
    assert report["model"] == "eval_test_models:tiny"
    knn, linear = report["results"]
    assert (knn["protocol"], linear["protocol"]) == ("knn", "linear")
    assert {"top1", "top5", "top1_k10", "top1_d16", "top1_d2"} <= set(knn["metrics"])
    assert {"top1", "top5", "top1_d32", "top1_d2"} <= set(linear["metrics"])
    expected = {"num_train": 60, "num_val": 30, "image_size_px": 16, "precision": "fp32", "train": "synthetic"}
    for result in report["results"]:
        assert expected.items() <= result["settings"].items()
    printed = capsys.readouterr()
    assert "top1_k10" in printed.out and f"{100 * knn['metrics']['top1']:.2f}" in printed.out
    assert "60 images, 8 classes" in printed.err


def test_class_folders_with_an_unreadable_image(
    franca: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = folder(tmp_path / "my train", {"blue": 12, "red": 12})
    val = folder(tmp_path / "my val", {"blue": 5, "red": 5})
    (Path(val) / "red" / "zero.png").touch()
    assert franca("knn", "eval_test_models:tiny", f"train={train}", f"val={val}", "out=r.json", *FAST) == 0
    result = json.loads(Path("r.json").read_text())["results"][0]
    assert result["metrics"]["top1"] == 1
    assert (result["settings"]["num_val"], result["settings"]["k"]) == (10, 20)
    assert "val= lacks 1 unreadable image" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["knn", "eval_test_models:tiny", "val=synthetic"], "train=SRC missing"),
        (["knn", "eval_test_models:tiny"], "train=SRC and val=SRC missing"),
        (["knn", "eval_test_models:tiny", *DRAWN, "temprature=1"], "did you mean temperature?"),
        (["knn", "eval_test_models:tiny", *DRAWN, "k=many"], "knn.k"),
        (["kn", "eval_test_models:tiny", *DRAWN], "did you mean knn?"),
        (["knn", "eval_test_models:tiny", *DRAWN, "k=61"], "lower k"),
        (["knn", "eval_test_models:tiny", *DRAWN, "image_size_px=20"], "patch size, 8 px"),
        (["knn", "eval_test_models:tiny", *DRAWN, "out=."], "is a folder"),
        (["knn", "eval_test_models:tiny", "train=nowhere", "val=synthetic"], "nowhere"),
        (["knn", "no_such_run", *DRAWN], "no_such_run"),
        (["linear", "eval_test_models:tiny", *DRAWN, "synthetic.num_images=8"], "one image per class"),
        (["fewshot", "eval_test_models:tiny", *DRAWN, "shots=[10]"], "has 7 images; lower shots"),
        (["knn", "eval_test_models:unmade", *DRAWN], "unmade' cannot be made: ZeroDivisionError: division by zero"),
        (
            ["knn", "eval_test_models:Unusable", *DRAWN, *FAST],
            "fails on a batch of images [1, 3, 224, 224], fp32 on cpu: Attr",
        ),
        (["knn", "franca_vits14", *DRAWN], "pretrained"),
    ],
)
def test_wrong_use_is_one_message_and_2(
    franca: Run, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert franca(*words) == 2
    printed = capsys.readouterr()
    assert said in printed.err and "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        ({"red": 3}, {"red": 3}, "one class"),
        ({"red": 3, "blue": 3}, {"red": 3, "green": 3}, "classes that train= lacks: green"),
    ],
)
def test_classes_that_cannot_be_compared(
    franca: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    train: dict[str, int],
    val: dict[str, int],
    said: str,
) -> None:
    sources = [f"train={folder(tmp_path / 'train', train)}", f"val={folder(tmp_path / 'val', val)}"]
    assert franca("knn", "eval_test_models:tiny", *sources, "k=2", *FAST) == 2
    assert said in capsys.readouterr().err


def test_paths_are_taken_as_they_stand() -> None:
    request = read_request(["train=/data/{000..018}.tar", "val=a=b: c/#1", "out=1.json", "k=5"])
    assert request.locations == {"train": "/data/{000..018}.tar", "val": "a=b: c/#1"}
    assert request.out == Path("1.json")
    assert request.overrides == {"k": 5}
    assert read_request(["train=[a.tar, b.tar]", "val=007"]).locations["train"] == ["a.tar", "b.tar"]
    assert read_request(["train=x", "val=007"]).locations["val"] == "007"
    assert read_request(["data=007"]).locations == {"val": "007"}
    names = ["weights=2024", "rasa=a #b", "segmentation.pictures=1e5", "features.device=0"]
    assert list(read_request(["data=x", *names]).overrides.values()) == ["2024", "a #b", "1e5", "0"]
    with pytest.raises(ConfigError, match="are the same"):
        read_request(["data=x", "val=y"])
    with pytest.raises(ConfigError, match="key=value"):
        read_request(["train=x", "val=y", "k"])


@pytest.mark.parametrize("protocol", ["knn", "linear"])
def test_entry_scripts_in_a_checkout(
    protocol: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(assets.path("eval").parent))
    monkeypatch.setattr(sys, "argv", ["", "no_such_model"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"eval.{protocol}", run_name="__main__")
    assert ended.value.code == 2 and "train=SRC and val=SRC missing" in capsys.readouterr().err


def test_exported_teachers_give_one_table_and_none_is_judged_twice(
    franca: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["pretrain", "tiny", "run.dir=run", "train.steps=1", "performance.workers=0"]) == 0
    words = ["knn", "run", *DRAWN, "synthetic.size_px=32", *FAST]
    assert franca(*words, "--exports", "all", "--element", "1") == 0  # as an element of an array does
    (table,) = Path("run/evaluations").glob("knn-*/table.md")
    assert [line.split(" | ")[0] for line in table.read_text().splitlines()[2:]] == ["| teacher"]
    alone = json.loads((table.parent / "teacher.json").read_text())
    assert franca(*words, "--exports", "all", "out=all.json") == 0
    reports = json.loads(Path("all.json").read_text())
    assert [Path(report["model"]).stem for report in reports] == ["teacher_step_00000000", "teacher"]
    assert reports[1] == alone
    capsys.readouterr()
    monkeypatch.setattr("franca.cli.eval.evaluation.evaluate", None)  # would fail if it were called
    assert franca(*words, "--exports", "all") == 0
    assert "| teacher_step_00000000 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--element", "0"], "--element chooses one of --exports"),
        (["--exports", "all"], "has no exported teachers"),
    ],
)
def test_exports_that_are_not_there(
    words: list[str], expected: str, franca: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert franca("knn", "missing", *DRAWN, *words) == 2
    assert expected in capsys.readouterr().err


def test_real_photos(franca: Run, test_data: Path) -> None:
    """A random network sees colours and edges: well above chance, far from good."""
    photos = test_data / "photos"
    sources = [f"train={photos}/imagenette-train-00000{{0..1}}.tar", f"val={photos}/imagenette-val-000000.tar"]
    assert franca("knn", "eval_test_models:tiny", *sources, "out=photos.json", "image_size_px=64") == 0
    result = json.loads(Path("photos.json").read_text())["results"][0]
    assert (result["settings"]["num_train"], result["settings"]["num_val"]) == (1024, 512)
    assert 0.13 < result["metrics"]["top1"] < 0.5
