"""Finding a model by what the user calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from franca.errors import CheckpointError, ConfigError, OutOfMemory
from franca.features.backbone import open_backbone
from franca.features.model import FeatureModel
from franca.models.fingerprint import fingerprint
from franca.models.preprocessing import Preprocessing
from franca.models.vision_transformer import VisionTransformer


def test_a_callable_in_the_folder_one_works_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text(
        "from torch import nn\ndef tiny():\n    return nn.Linear(3, 2)\ndef text():\n    return 'a'\nnothing = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # puts sys.path back afterwards
    model = open_backbone("my_models:tiny")
    assert isinstance(model, nn.Linear) and not model.training
    for name, said in (("nothing", "not callable"), ("other", "has no 'other'"), ("text", "returned str")):
        with pytest.raises(ConfigError, match=said):
            open_backbone(f"my_models:{name}")
    with pytest.raises(ConfigError, match="cannot import 'no_such_module': ModuleNotFoundError"):
        open_backbone("no_such_module:tiny")
    with pytest.raises(ConfigError, match="for named models"):
        open_backbone("my_models:tiny", pretrained=False)


BROKEN = """
import torch

def fails(size=3):
    return torch.nn.Linear(size, 1 // 0)

def needs(size):
    return torch.nn.Linear(size, 1)

def grows():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
"""


@pytest.mark.parametrize("family", ["module", "hub"])
def test_a_constructor_that_fails_is_one_message(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ("broken_models.py" if family == "module" else "hubconf.py")
    file.write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_models", raising=False)
    before = "broken_models:" if family == "module" else f"hub:{tmp_path}:"
    kind = ConfigError if family == "module" else CheckpointError
    for name, expected, said in (
        ("fails", kind, rf"'{before}fails' cannot be made: ZeroDivisionError: .*{file.name}:5, in fails\).*Expected"),
        ("needs", kind, r"TypeError: needs\(\) missing 1 required positional argument: 'size'"),
        ("grows", OutOfMemory, r"OutOfMemoryError: CUDA out of memory.*device=cpu"),
    ):
        with pytest.raises(expected, match=said) as caught:
            open_backbone(before + name)
        assert type(caught.value.__cause__).__name__ in said


def test_a_module_that_fails_as_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_written.py").write_text("model = undefined")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"cannot import 'half_written': NameError: .*half_written.py:1"):
        open_backbone("half_written:model")


def test_names_and_paths_go_to_the_hub(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        open_backbone("franca_vits14")
    with pytest.raises(CheckpointError):
        open_backbone(str(tmp_path / "no_such_run"))


def test_preprocessing_is_the_models_or_imagenets() -> None:
    model = nn.Linear(1, 1)
    assert FeatureModel(model).preprocessing == Preprocessing()
    stated = Preprocessing(40, (0.5,) * 3, (0.1,) * 3)
    model.preprocessing = stated  # type: ignore[assignment]
    assert FeatureModel(model).preprocessing is stated


def test_num_blocks() -> None:
    assert FeatureModel(nn.Linear(1, 1)).num_blocks == 1
    assert (
        FeatureModel(VisionTransformer(width=8, depth=3, num_heads=1, patch_size_px=4, image_size_px=8)).num_blocks == 3
    )


def test_the_fingerprint_is_of_the_weights() -> None:
    torch.manual_seed(0)
    model, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    assert fingerprint(model) != fingerprint(twin)
    twin.load_state_dict(model.state_dict())
    assert fingerprint(model) == fingerprint(twin)
    with torch.no_grad():
        twin.weight[0, 0] += 1e-6
    assert fingerprint(model) != fingerprint(twin)
