from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from franca.errors import ExportError
from franca.export import torch_file
from franca.export.verify import compare, draw_images, verify
from tests.export.models import build


def test_difference_over_the_largest_value() -> None:
    expected = {"3/cls": torch.tensor([1.0, -4.0]), "1/cls": torch.tensor([2.0]), "1/patches": torch.tensor([8.0])}
    found = {"3/cls": torch.tensor([1.0, -4.1]), "1/cls": torch.tensor([2.02]), "1/patches": torch.tensor([8.0])}
    assert compare(expected, found, "theirs", 0.03) == pytest.approx({"cls": 0.1 / 4, "patches": 0.0}, rel=1e-4)
    with pytest.raises(
        ExportError, match=r"theirs computes .* cls by 2\.5e-02 of the .* allowed is 2\.4e-02"
    ) as caught:
        compare(expected, found, "theirs", 0.024)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_too_large(value: float) -> None:
    """Also where a later batch, or ours, has such a value."""
    good = {"3/cls": torch.ones(2), "1/cls": torch.ones(2)}
    for key in good:
        bad = {**good, key: torch.tensor([1.0, value])}
        for expected, found in ((good, bad), (bad, good)):
            with pytest.raises(ExportError, match="cls by inf"):
                compare(expected, found, "theirs", 1e3)


@pytest.mark.parametrize("found", [{"3/cls": torch.ones(1, 2)}, {}, {"3/cls": torch.ones(2), "3/more": torch.ones(2)}])
def test_other_outputs_or_shapes(found: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ExportError, match="other shapes"):
        compare({"3/cls": torch.ones(2)}, found, "theirs", 1.0)


def test_images_have_the_stored_size() -> None:
    batches = draw_images(build(image_size_px=(8, 12), in_chans=2))
    assert {batch: list(images.shape) for batch, images in batches.items()} == {"3": [3, 2, 8, 12], "1": [1, 2, 8, 12]}


def test_other_weights_are_found_in_a_process_of_its_own(tmp_path: Path) -> None:
    model = build(num_registers=4)
    torch_file.write(model, tmp_path / "a.pth")
    with torch.no_grad():
        model.blocks[1].ls2.gamma[3] += 0.01
    with pytest.raises(ExportError, match="differs from franca"):
        verify(model, "torch", tmp_path / "a.pth", tolerance=1e-6)


def test_what_its_reader_says_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"nonsense")
    with pytest.raises(ExportError, match=r"(?s)torch .* cannot read the export of format torch:\n.*weights_only"):
        verify(build(), "torch", tmp_path / "a.pth", tolerance=1.0)


@pytest.mark.parametrize("name", ["franca", "timm", "torch"])
def test_packages_where_the_user_is_are_not_met(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    torch_file.write(build(), Path("a.pth"))
    assert verify(build(), "torch", Path("a.pth"), tolerance=1e-6)["cls"] == 0


def test_no_tolerance_allows_what_is_no_number() -> None:
    bad = {"3/cls": torch.tensor([math.nan])}
    for tolerance in (math.inf, math.nan):
        with pytest.raises(ExportError, match="cls by inf"):
            compare({"3/cls": torch.ones(1)}, bad, "theirs", tolerance)
