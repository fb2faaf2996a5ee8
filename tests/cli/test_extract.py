"""`franca extract` from the words of the command line to the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from franca.cli.main import main
from franca.data.sources import open_source
from franca.features.backbone import open_backbone
from franca.features.preprocess import bring_to, normalise
from tests.cli.test_eval import MODEL, folder
from tests.distributed.ranks import run_ranks

FAST = ["workers=0", "device=cpu", "precision=fp32"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extract_test_models.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def extract(*words: str) -> int:
    return main(["extract", "extract_test_models:tiny", *words, *FAST])


def test_the_file_holds_what_the_model_says(tmp_path: Path) -> None:
    images = folder(tmp_path / "images", {"blue": 3, "red": 2})
    (tmp_path / "images" / "blue" / "broken.png").write_bytes(b"\x89PNG")
    assert extract(images, "out.safetensors", "layers=2", "patch_mean=true", "patches=true") == 0
    with safe_open("out.safetensors", "pt") as file:
        told = {name: json.loads(text) for name, text in file.metadata().items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    keys = ["blue/0.png", "blue/1.png", "blue/2.png", "red/0.png", "red/1.png"]
    assert (told["keys"], told["class_names"]) == (keys, ["blue", "red"])
    assert told["skipped"][0][0] == "blue/broken.png"
    assert tensors["label"].tolist() == [0, 0, 0, 1, 1]
    source = open_source(images)
    pixels = torch.stack([bring_to(source.read(i).image, (16, 16)) for i in (0, 1, 2, 4, 5)])
    mean, std = told["settings"]["mean"], told["settings"]["std"]
    with torch.no_grad():
        expected = open_backbone("extract_test_models:tiny").features(normalise(pixels, mean, std))
    torch.testing.assert_close(tensors["cls"], expected.cls)
    torch.testing.assert_close(tensors["cls_layers"][:, 1], expected.cls)
    torch.testing.assert_close(tensors["patch_mean"], expected.patches.mean(1))
    torch.testing.assert_close(tensors["patches"].float().flatten(1, 2), expected.patches, rtol=1e-3, atol=1e-3)


def test_images_without_labels(tmp_path: Path) -> None:
    images = folder(tmp_path / "images", {"all": 2})
    assert extract(f"{images}/all", "out.safetensors") == 0
    with safe_open("out.safetensors", "pt") as file:
        assert set(file.keys()) == {"cls"}


def test_again_is_done_at_once_and_other_features_are_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["synthetic", "out.safetensors", "synthetic.num_images=40"]
    assert extract(*words) == 0
    before = Path("out.safetensors").stat()
    assert extract(*words) == 0
    assert Path("out.safetensors").stat() == before
    assert extract(*words, "image_size_px=24") == 2
    assert "holds other features" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir() if "out" in path.name) == ["out.safetensors"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["synthetic", "out.npz"], "ends in .safetensors"),
        (["synthetic", "out.safetensors", "layer=2"], "did you mean layers?"),
        (["nowhere", "out.safetensors"], "nowhere"),
    ],
)
def test_wrong_use_is_one_message_and_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert extract(*words) == 2
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed


def _features_of_one_rank(rank: int, folder: str) -> torch.Tensor:
    from franca.data.synthetic import SyntheticConfig, SyntheticSource
    from franca.features.extract import extract
    from franca.features.job import Job
    from franca.features.model import FeatureModel
    from franca.features.settings import FeatureSettings
    from franca.features.table import Wanted
    from franca.models.vision_transformer import VisionTransformer

    model = VisionTransformer(width=16, depth=1, num_heads=1, patch_size_px=8, image_size_px=16)
    model.initialize(seed=0)
    source = SyntheticSource(SyntheticConfig(num_images=100, size_px=16), "train")
    settings = FeatureSettings(image_size_px=16, workers=0, cache=False, batch_size=20)
    table = extract(Job(FeatureModel(model), source, Wanted(), settings, torch.device("cpu")))
    assert table.labels is not None and table.labels.tolist() == [index % 8 for index in range(100)]
    return table.cls.clone()


def test_ranks_share_the_work_and_each_gets_all(tmp_path: Path) -> None:
    (alone,) = run_ranks(_features_of_one_rank, str(tmp_path), world_size=1)
    for found in run_ranks(_features_of_one_rank, str(tmp_path), world_size=3):
        assert torch.equal(found, alone)


def test_features_of_images_that_changed_are_not_taken_for_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder(tmp_path / "images", {"blue": 3, "red": 2})
    assert extract(images, "out.safetensors") == 0
    image = tmp_path / "images" / "blue" / "0.png"
    image.write_bytes((tmp_path / "images" / "red" / "0.png").read_bytes())
    assert extract(images, "out.safetensors") == 2
    assert "holds other features" in capsys.readouterr().err
