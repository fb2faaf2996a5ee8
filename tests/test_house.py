"""The rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from franca import assets
from franca.config.architectures import ARCHITECTURES, aliases

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "franca").rglob("*.py"))
TORCH_ONLY = [
    path
    for path in (*MODULES, *ROOT.glob("hubconf.py"))
    if path.parent == ROOT or path.relative_to(ROOT).parts[1] in ("layers", "models")
]


def imported(path: Path) -> Iterator[str]:
    """Top-level names of the packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module).split(".")[0]


def test_no_module_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [str(path) for path in MODULES if vague & {path.stem, *path.relative_to(ROOT).parts}] == []


@pytest.mark.parametrize("path", TORCH_ONLY, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_models_and_hub_need_torch_alone(path: Path) -> None:
    assert set(imported(path)) - set(sys.stdlib_module_names) <= {"torch", "franca"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name)
def test_tests_mirror_the_package(path: Path) -> None:
    """tests/data/test_plan.py tests franca/data/plan.py; tests of the whole live at the top of tests/."""
    parts = path.relative_to(ROOT / "tests").parts
    if len(parts) > 1 and (ROOT / "franca" / parts[0]).is_dir():
        module = ROOT.joinpath("franca", *parts[:-1], path.name.removeprefix("test_"))
        assert module.is_file(), f"{path} mirrors no module"


def test_sizes_in_configs_are_those_of_the_models() -> None:
    registry = pytest.importorskip("franca.models.registry")
    assert set(registry.ARCHITECTURES) == set(ARCHITECTURES)
    assert all(registry.canonical_arch(alias) == name for alias, name in aliases().items())
    for name, size in ARCHITECTURES.items():
        small = registry.build_backbone(name, patch_size_px=16, image_size_px=32, depth=1)
        assert (small.config["width"], small.config["num_heads"]) == (size.width, size.num_heads)


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda page: page.name
)
def test_links_between_documents_resolve(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    pages = [page for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if page.exists()]
    named = {word for page in pages for word in re.findall(r"\bmake ([a-z]+)\b`", page.read_text())}
    assert named <= targets


def test_the_wheel_carries_code_recipes_protocols_and_cluster_files(tmp_path: Path) -> None:
    if not (ROOT / "README.md").exists():
        pytest.skip("the wheel needs README.md")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("franca_vision-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    code = {str(path.relative_to(ROOT)) for path in MODULES}
    folders = ("configs", "eval", "slurm/profiles")
    edited = {f"franca/_assets/{folder}/{name}.yaml" for folder in folders for name in assets.names(folder)}
    edited |= {f"franca/_assets/slurm/{name}.sbatch" for name in assets.names("slurm", ".sbatch")}
    assert code | edited <= held
    assert [name for name in held if not name.startswith(("franca/", "franca_vision-"))] == []
