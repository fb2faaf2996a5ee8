from __future__ import annotations

from pathlib import Path

import pytest

import franca
from tests.export.models import KINDS, RECTANGLE_PX, SQUARE_PX, build, round_trip


@pytest.mark.parametrize("size_px", [SQUARE_PX, RECTANGLE_PX])
@pytest.mark.parametrize("options", KINDS)
def test_reads_back_exactly(options: dict[str, object], size_px: tuple[int, int], tmp_path: Path) -> None:
    model = build(image_size_px=size_px, **options)
    assert set(round_trip("safetensors", model, tmp_path / "a.safetensors", tolerance=0).values()) == {0.0}


def test_what_is_known_about_the_weights_stays(tmp_path: Path) -> None:
    model = build()
    model.export_info = {"step": 7, "recipe": "tiny"}
    round_trip("safetensors", model, tmp_path / "a.safetensors")
    found = franca.load(tmp_path / "a.safetensors")
    assert found.config == model.config
    assert found.preprocessing == model.preprocessing
    assert found.export_info == model.export_info
