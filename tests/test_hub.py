"""torch.hub in processes of their own: other packages missing, or another package of our name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from franca.errors import CheckpointError
from franca.models.registry import RELEASES
from franca.models.releases import WEIGHTS

ROOT = Path(__file__).resolve().parents[1]

# Refuses every package that is neither of the standard library, nor torch or one that torch requires.
ONLY_TORCH = """
import importlib.metadata, re, sys, torch

def closure(name):
    lines = importlib.metadata.requires(name) or []
    found = {re.match(r"[\\w.-]+", line).group() for line in lines if ";" not in line}
    return {name}.union(*map(closure, found))

allowed = {name.replace("-", "_") for name in closure("torch") | {"functorch"}}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in allowed | {"torchgen", "franca", "hubconf"}:
            raise ModuleNotFoundError(f"refused: {name}", name=name)

for name in [name for name in sys.modules if name.partition(".")[0] == "numpy"]:
    del sys.modules[name]
sys.meta_path.insert(0, Refuse())
"""

USE = """
import os
folder, small = os.environ["HUB_DIR"], dict(width=16, depth=1, num_heads=2)
model = torch.hub.load(folder, "franca_vitb14", source="local", pretrained=False, **small)
import franca
from franca.models.weights import save_backbone
save_backbone("a.safetensors", model, mean=(0, 0, 0), std=(1, 1, 1), image_size_px=224)
again = torch.hub.load(folder, "franca_vitb14", source="local", weights="a.safetensors", **small)
images = torch.ones(1, 3, 28, 42)
assert torch.equal(model(images), again(images))
assert torch.equal(model(images), franca.load("a.safetensors")(images))

names = {name: name.replace("blocks.0.", "blocks.0.0.") for name in model.state_dict()}
state = {f"backbone.{names[name]}": tensor for name, tensor in model.state_dict().items()}
torch.save({"teacher": state | {"dino_head.mlp.weight": torch.ones(2)}}, "released.pth")
theirs = torch.hub.load(folder, "franca_vitb14", source="local", weights="released.pth", **small)
assert torch.equal(model(images), theirs(images))

from franca.models.fingerprint import fingerprint
from franca.models.projector import Projector
from franca.models.projector_file import ProjectorFile
projector = Projector.removing(torch.ones(1, 16))
ProjectorFile(projector, fingerprint(model)).write("rasa.safetensors")
files = dict(weights="a.safetensors", rasa="rasa.safetensors")
apart = torch.hub.load(folder, "franca_vitb14", source="local", **files, **small)
found = apart.forward_features(images)
assert torch.equal(found["patch_token_rasa"], projector(found["x_norm_patchtokens"]))
"""

CHECK = """
for name in ("numpy", "yaml", "torchvision", "safetensors"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        assert "refused" in str(error), name
    else:
        raise AssertionError(f"{name} was not refused")
"""


def python(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run code where nothing but the hub itself puts the checkout on the path."""
    environment = {**os.environ, "PYTHONPATH": "", "HUB_DIR": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)


def test_hub_needs_only_torch(tmp_path: Path) -> None:
    result = python(ONLY_TORCH + USE + CHECK, tmp_path)
    assert result.returncode == 0, result.stderr


def test_hub_beside_an_unrelated_package_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "franca.py").write_text("")
    code = (
        "import os, torch, franca\n"
        "torch.hub.load(os.environ['HUB_DIR'], 'franca_vits14', source='local', pretrained=False)\n"
    )
    result = python(code, tmp_path)
    assert result.returncode != 0
    assert "is another project of the same name" in result.stderr
    assert str(tmp_path / "franca.py") in result.stderr


@pytest.mark.parametrize(
    "files",
    [
        {"__init__.py": "", "models/__init__.py": "", "models/hub.py": ""},
        {"models/other.py": ""},
        {"__init__.py": "import none"},
    ],
    ids=["models", "namespace", "broken"],
)
def test_hub_beside_a_package_like_ours(files: dict[str, str], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / "franca" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "franca" / name).write_text(content)
    code = (
        "import contextlib, sys\n"
        f"sys.path[:] = [folder for folder in sys.path if folder != {str(ROOT)!r}]\n"  # as where ours is not installed
        "with contextlib.suppress(ImportError):\n"
        "    import franca\n"
        f"sys.path.append({str(ROOT)!r})\n"
        "import hubconf\n"
    )
    result = python(code, tmp_path)
    assert "is another project of the same name" in result.stderr
    assert str(tmp_path / "franca") in result.stderr


def test_hub_tells_what_ours_lacks(tmp_path: Path) -> None:
    code = f"import sys; sys.modules['franca.errors'] = None; sys.path.insert(0, {str(ROOT)!r}); import hubconf"
    result = python(code, tmp_path)
    assert "franca.errors" in result.stderr
    assert "another project" not in result.stderr


@pytest.mark.parametrize("name", RELEASES)
def test_every_name_is_an_entry_point(name: str) -> None:
    model = torch.hub.load(str(ROOT), name, source="local", pretrained=False, width=16, depth=1, num_heads=2)
    assert not model.training


def test_hub_offers_the_names_and_nothing_else() -> None:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None and spec.loader is not None
    hubconf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hubconf)
    assert hubconf.dependencies == ["torch"]
    offered = {name for name, value in vars(hubconf).items() if callable(value) and not name.startswith("_")}
    assert offered == set(RELEASES)
    assert all(name in getattr(hubconf, name).__doc__ for name in RELEASES)
    for weights in WEIGHTS:
        assert weights.name in getattr(hubconf, weights.model).__doc__
    with pytest.raises(CheckpointError, match="no public weights"):
        hubconf.franca_vits14()
