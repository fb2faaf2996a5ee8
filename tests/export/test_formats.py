from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from franca.errors import ConfigError
from franca.export.formats import FORMATS, open_format, reader_name

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_offers_the_three_functions(name: str) -> None:
    module = open_format(name)
    assert all(callable(getattr(module, function)) for function in ("write", "load", "usage"))
    assert re.fullmatch(r"\w+ \d+\.\d+.*", reader_name(name))


@pytest.mark.parametrize("name", ["timm", "hf", "onnx"])
def test_a_missing_package_names_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("franca.export.formats.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=re.escape(f"pip install 'franca-vision[{FORMATS[name].extra}]'")) as caught:
        open_format(name)
    assert all(package in str(caught.value) for package in FORMATS[name].packages)


@pytest.mark.parametrize("name", ["timm", "hf", "onnx"])
def test_the_extra_brings_the_packages(name: str) -> None:
    lines = re.search(rf"^{FORMATS[name].extra} = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert lines is not None
    assert set(re.findall(r'"(\w+)[^"]*"', lines[1])) == set(FORMATS[name].packages)


def test_the_table_needs_no_torch() -> None:
    code = "import sys, franca.export.formats; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_modules_are_where_the_table_says() -> None:
    assert all(importlib.util.find_spec(form.module) for form in FORMATS.values())
