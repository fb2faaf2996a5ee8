from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from franca.models.layouts import to_ours, to_timm, to_transformers
from franca.models.vision_transformer import VisionTransformer
from tests.models import reference

KINDS = [
    pytest.param({"ffn": ffn, "num_registers": registers, "layer_scale": scale}, id=f"{ffn}-{registers}-{scale}")
    for ffn in ("mlp", "swiglu")
    for registers in (0, 4)
    for scale in (1e-5, None)
]


def build(**options: Any) -> VisionTransformer:
    model = VisionTransformer(width=16, depth=11, num_heads=2, patch_size_px=4, image_size_px=(8, 12), **options)
    reference.randomize(model)
    return model.eval()


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("options", KINDS)
def test_our_names_stay(options: dict[str, Any]) -> None:
    state = build(**options).state_dict()
    found, layout = to_ours(state)
    assert layout == "dinov2"
    assert_same(found, state)


@pytest.mark.parametrize("options", KINDS)
def test_timm_and_back(options: dict[str, Any]) -> None:
    """Without registers only the mask token is lost; with them class token and class position come back summed."""
    model = build(**options)
    state = model.state_dict()
    theirs = to_timm(state)
    assert "mask_token" not in theirs
    assert {name for name in theirs if "mlp" in name} == {
        f"blocks.{i}.mlp.{layer}.{leaf}" for i in range(11) for layer in ("fc1", "fc2") for leaf in ("weight", "bias")
    }
    ours, layout = to_ours(theirs)
    assert layout == "timm"
    assert_same(to_timm(ours), theirs)
    with_mask = {**ours, "mask_token": state["mask_token"]}
    if not options["num_registers"]:
        assert_same(with_mask, state)
    again = build(**options)
    again.load_state_dict(with_mask)
    images = torch.randn(2, 3, 12, 16)
    assert torch.equal(again(images), model(images))


def test_timm_registers_take_no_position() -> None:
    state = build(num_registers=4).state_dict()
    theirs = to_timm(state)
    assert torch.equal(theirs["reg_token"], state["register_tokens"])
    assert torch.equal(theirs["cls_token"][0, 0], state["cls_token"][0, 0] + state["pos_embed"][0, 0])
    assert torch.equal(theirs["pos_embed"], state["pos_embed"][:, 1:])
    ours, _ = to_ours(theirs)
    assert ours["pos_embed"].shape == (1, 7, 16)
    assert not ours["pos_embed"][0, 0].any()


@pytest.mark.parametrize("options", KINDS)
def test_transformers_and_back(options: dict[str, Any]) -> None:
    state = build(**options).state_dict()
    ours, layout = to_ours(to_transformers(state))
    assert layout == "transformers"
    if options["layer_scale"] is None:
        ones = {f"blocks.{i}.ls{branch}.gamma": torch.ones(16) for i in range(11) for branch in (1, 2)}
        state = {**state, **ones}
    assert_same(ours, state)


def test_transformers_by_hand() -> None:
    state = build(ffn="swiglu").state_dict()
    theirs = to_transformers(state)
    layer, block = "encoder.layer.10.", "blocks.10."
    for part, name in enumerate(("query", "key", "value")):
        rows = slice(16 * part, 16 * (part + 1))
        for leaf in ("weight", "bias"):
            found = theirs[f"{layer}attention.attention.{name}.{leaf}"]
            assert torch.equal(found, state[f"{block}attn.qkv.{leaf}"][rows])
    assert torch.equal(theirs[f"{layer}layer_scale2.lambda1"], state[f"{block}ls2.gamma"])
    assert torch.equal(theirs[f"{layer}mlp.weights_in.bias"], state[f"{block}mlp.w12.bias"])
    assert torch.equal(theirs["embeddings.position_embeddings"], state["pos_embed"])
    assert torch.equal(theirs["layernorm.weight"], state["norm.weight"])


@pytest.mark.parametrize("name", ["dinov2", "dinov2_with_registers"])
@pytest.mark.parametrize("gated", [False, True])
def test_names_of_transformers_in_memory_and_in_files(name: str, gated: bool) -> None:
    """What a model of theirs calls its parameters, and what ours would be called in a file, is read alike."""
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(
        name,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        use_swiglu_ffn=gated,
    )
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    ours, _ = to_ours({key: torch.randn(value.shape) for key, value in model.state_dict().items()})
    registers = 4 if name.endswith("registers") else 0
    mine = VisionTransformer(
        width=16,
        depth=2,
        num_heads=2,
        patch_size_px=4,
        image_size_px=8,
        ffn="swiglu" if gated else "mlp",
        num_registers=registers,
    )
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in mine.state_dict().items()
    }
    again, _ = to_ours(to_transformers(ours))
    assert_same(again, ours)


def test_other_names_pass() -> None:
    state = to_timm(build(ffn="swiglu", num_registers=1).state_dict())
    for extra in ("head.weight", "blocks.0.attn.q_norm.weight"):
        assert extra in to_ours({**state, extra: torch.ones(1)})[0]
    assert to_ours({"embeddings.cls_token": torch.ones(1)}) == ({"embeddings.cls_token": torch.ones(1)}, "dinov2")


def test_chunked_blocks_are_left_alone() -> None:
    state = {"mask_token": torch.ones(1), "pos_embed": torch.ones(1), "blocks.2.7.mlp.w12.weight": torch.ones(1)}
    assert set(to_ours(state)[0]) == set(state)
