from __future__ import annotations

from pathlib import Path

import pytest

from franca import assets


def test_a_checkout_reads_the_folders_beside_the_package() -> None:
    assert assets.path("configs", "tiny.yaml").is_file()
    assert assets.path("configs").parent == Path(__file__).parent.parent


def test_a_wheel_reads_the_folder_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "only.yaml").write_text("")
    monkeypatch.setattr(assets, "_WHEEL_ASSETS", tmp_path)
    assert assets.path("configs", "only.yaml") == tmp_path / "configs" / "only.yaml"
    assert assets.names("configs") == ["only"]


def test_names_are_sorted_and_bare() -> None:
    names = assets.names("configs")
    assert names == sorted(names)
    assert {"tiny", "demo"} <= set(names)
