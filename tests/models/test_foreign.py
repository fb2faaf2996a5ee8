from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.models.foreign import Untold, build_foreign
from franca.models.layouts import to_timm, to_transformers
from franca.models.vision_transformer import VisionTransformer
from tests.models.released import IMAGES, chunked, heads, prefixed, same, small

State = dict[str, Tensor]


def unpacked(state: Mapping[str, Tensor]) -> State:
    """SwiGLU's w12 as w1 and w2."""
    parts: State = {}
    for name, tensor in state.items():
        names = [name.replace("w12", part) for part in ("w1", "w2")] if ".w12." in name else [name]
        parts |= dict(zip(names, tensor.chunk(len(names)), strict=True))
    return parts


def wrapped(state: Mapping[str, Tensor]) -> State:
    """Names as compilation, activation checkpointing and sharding leave them."""
    return {
        "module._orig_mod." + name.replace(".attn.", "._fsdp_wrapped_module.attn._checkpoint_wrapped_module."): tensor
        for name, tensor in state.items()
    }


@pytest.mark.parametrize(
    ("options", "write"),
    [
        ({}, dict),
        ({}, lambda state: prefixed(chunked(state), "backbone.")),
        ({}, chunked),
        ({}, lambda state: chunked(state, blocks_per_chunk=1)),
        ({}, unpacked),
        ({}, lambda state: wrapped(prefixed(chunked(unpacked(state)), "backbone."))),
        ({"ffn": "mlp"}, dict),
        ({"ffn": "mlp", "num_registers": 4, "position_interpolation": "size"}, dict),
        ({"num_registers": 4, "position_interpolation": "size"}, lambda state: prefixed(state, "module.backbone.")),
        ({"layer_scale": None, "ffn": "mlp"}, dict),
        ({"ffn_ratio": 2.5, "patch_size_px": 7, "image_size_px": 28}, dict),
        ({"ffn": "mlp", "ffn_ratio": 3.1}, to_transformers),
        ({"num_registers": 4, "position_interpolation": "size"}, to_transformers),
    ],
)
def test_names_and_shapes_tell_the_backbone(options: dict[str, Any], write: Callable[[State], State]) -> None:
    model = small(**options)
    found = build_foreign(write(model.state_dict()), source="file", verbose=False)
    different = {key for key in found.config if found.config[key] != model.config[key]}
    assert different <= {"ffn_ratio"}
    assert not found.training and all(parameter.requires_grad for parameter in found.parameters())
    assert same(found, model)


def test_a_file_of_timm_has_no_mask_token(capsys: pytest.CaptureFixture[str]) -> None:
    model = small(num_registers=4, position_interpolation="size")
    found = build_foreign(to_timm(model.state_dict()), source="file")
    assert found.mask_token.abs().sum() == 0
    assert "file (timm names)" in (line := capsys.readouterr().err) and "no mask token in the file: zeros" in line
    torch.testing.assert_close(found(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-5)


def test_the_backbone_has_memory_of_its_own_in_fp32() -> None:
    model = small()
    state = {name: tensor.detach().half() for name, tensor in model.state_dict().items()}
    state["norm.bias"] = model.norm.bias.detach().clone()
    found = build_foreign(state, source="file", verbose=False)
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float32}
    state["norm.bias"].zero_()
    assert torch.equal(found.norm.bias, model.norm.bias)


def test_training_heads_are_left_aside_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    model = small()
    state = prefixed(model.state_dict(), "backbone.") | heads()
    assert same(build_foreign(prefixed(state, "module."), source="a.pth"), model)
    assert capsys.readouterr().err == (
        f"a.pth (dinov2 names): {len(model.state_dict())} tensors matched, 0 missing, 0 unexpected; "
        "4 of training heads left aside\n"
    )
    build_foreign(state, source="a.pth", verbose=False)
    assert capsys.readouterr().err == ""


def test_what_does_not_match_is_counted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    state = small().state_dict()
    state["blocks.4.attn.extra"] = state.pop("blocks.4.attn.proj.bias")
    state["norm.weight"] = state["norm.weight"][:5]
    with pytest.raises(CheckpointError, match=r"missing: blocks.4.attn.proj.bias; unknown: blocks.4.attn.extra; wrong"):
        build_foreign(state, source="a.pth")
    assert "1 missing, 1 unexpected, 1 of another shape" in capsys.readouterr().err


def test_a_block_that_is_missing_is_not_taken_for_a_smaller_model() -> None:
    state = {name: tensor for name, tensor in small().state_dict().items() if not name.startswith("blocks.2.")}
    with pytest.raises(CheckpointError, match=r"missing: blocks.2.norm1.weight"):
        build_foreign(state, source="a.pth", verbose=False)


@pytest.mark.parametrize(
    ("patch", "grid", "size"), [(14, 37, 224), (14, 16, 224), (14, 7, 98), (16, 14, 224), (32, 12, 224), (300, 2, 300)]
)
def test_images_are_judged_at_224_where_the_model_knows_so_large_ones(patch: int, grid: int, size: int) -> None:
    model = VisionTransformer(width=8, depth=1, num_heads=1, patch_size_px=patch, image_size_px=patch * grid)
    found = build_foreign(model.state_dict(), source="a.pth", untold=Untold(num_heads=1), verbose=False)
    assert found.position_grid == (grid, grid)
    assert found.preprocessing.image_size_px == size
