from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from tests.export.models import KINDS, RECTANGLE_PX, SQUARE_PX, build, round_trip


@pytest.mark.parametrize("size_px", [SQUARE_PX, RECTANGLE_PX])
@pytest.mark.parametrize("options", KINDS)
def test_reads_back_exactly(options: dict[str, object], size_px: tuple[int, int], tmp_path: Path) -> None:
    model = build(image_size_px=size_px, **options)
    assert set(round_trip("torch", model, tmp_path / "a.pth", tolerance=0).values()) == {0.0}
    state = torch.load(tmp_path / "a.pth", weights_only=True)
    assert set(state) == set(model.state_dict())


@pytest.mark.parametrize(("ffn", "reference_ffn"), [("mlp", "mlp"), ("swiglu", "swiglufused")])
@pytest.mark.parametrize("num_registers", [0, 4])
def test_dinov2_reads_it(
    ffn: str, reference_ffn: str, num_registers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = os.environ.get("FRANCA_REFERENCE_DINOV2")
    if not checkout:
        pytest.skip("set FRANCA_REFERENCE_DINOV2 to a checkout of DINOv2")
    monkeypatch.setenv("XFORMERS_DISABLED", "1")
    monkeypatch.setattr(sys, "path", [checkout, *sys.path])
    from dinov2.models.vision_transformer import DinoVisionTransformer

    model = build(ffn=ffn, num_registers=num_registers)
    round_trip("torch", model, tmp_path / "a.pth")
    theirs = DinoVisionTransformer(
        img_size=12,
        patch_size=4,
        embed_dim=16,
        depth=2,
        num_heads=4,
        init_values=1.0,
        ffn_layer=reference_ffn,
        num_register_tokens=num_registers,
        block_chunks=0,
    ).eval()
    theirs.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True), strict=True)
    images = torch.randn(2, 3, 12, 12)
    expected = theirs.forward_features(images)
    torch.testing.assert_close(model.features(images).patches, expected["x_norm_patchtokens"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(images), expected["x_norm_clstoken"], rtol=1e-5, atol=1e-5)
