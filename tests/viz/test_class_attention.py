"""The attention of the class token, against a forward pass written by hand and against other models' own softmax."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from franca.errors import ConfigError
from franca.features.model import FeatureModel
from franca.viz.class_attention import ClassAttention
from tests.models import reference
from tests.viz.views import vit

timm = pytest.importorskip("timm")


def attention(backbone: nn.Module, image: Tensor) -> Tensor:
    model = FeatureModel(backbone)
    reader = ClassAttention(model)
    with torch.inference_mode(), reader.watch() as seen:
        return reader.maps(seen, model(image))


@pytest.mark.parametrize("num_registers", [0, 2])
def test_our_last_block_by_hand(num_registers: int) -> None:
    model = vit(num_registers)
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    maps = attention(model, image)
    state, config = model.state_dict(), model.config
    tokens = reference.forward(state, {**config, "depth": 1}, image, None)[0]  # what goes into the last block
    normed = reference.norm(tokens, state, "blocks.1.norm1")
    qkv = normed @ state["blocks.1.attn.qkv.weight"].T + state["blocks.1.attn.qkv.bias"]
    assert maps.shape == (3, 4, 4)
    for head in range(3):
        query, key = (qkv[:, part * 24 + head * 8 :][:, :8] for part in (0, 1))
        expected = torch.softmax(query[0] @ key.T / math.sqrt(8), dim=0)
        torch.testing.assert_close(maps[head].flatten(), expected[1 + num_registers :])
        assert maps[head].sum() == pytest.approx(1 - float(expected[: 1 + num_registers].sum()), abs=1e-5)


def test_rows_and_columns_are_not_mixed_up() -> None:
    assert attention(vit(), torch.randn(1, 3, 8, 20)).shape == (3, 2, 5)


def test_images_so_large_that_our_model_folds_its_layer_scale() -> None:
    assert attention(vit(), torch.randn(1, 3, 40, 48)).shape == (3, 10, 12)


@pytest.mark.parametrize("changes", [{}, {"reg_tokens": 3}, {"qk_norm": True}])
def test_models_of_timm_by_their_own_softmax(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    told = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 0}
    model = timm.models.VisionTransformer(**told, dynamic_img_size=True, **changes).eval()
    for block in model.blocks:
        block.attn.fused_attn = False  # its softmax is then a call of its own
    softmaxes: list[Tensor] = []
    model.blocks[-1].attn.attn_drop.register_forward_hook(lambda _, __, out: softmaxes.append(out[0]))
    maps = attention(model, torch.randn(1, 3, 8, 20))
    torch.testing.assert_close(maps.flatten(1), softmaxes[0][:, 0, -10:])


class _Other(nn.Module):
    """An attention that is not what its parts suggest: keys are scaled on the way."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.qkv, self.proj, self.num_heads = inner, inner.qkv, inner.proj, inner.num_heads

    def forward(self, tokens: Tensor, layout: Any, gamma: Tensor | None = None) -> Tensor:
        scale = torch.cat([torch.full((24,), value) for value in (3.0, 1.0, 1.0)])
        groups = (self.qkv(tokens) * scale).unflatten(0, (1, -1))
        return self.proj(self.inner._attend(groups)[0])


def test_another_computation_is_refused_and_not_drawn_wrongly() -> None:
    model = vit()
    model.blocks[-1].attn = _Other(model.blocks[-1].attn)
    with pytest.raises(ConfigError, match="does not compute softmax"):
        attention(model, torch.randn(1, 3, 16, 16))


def test_models_without_such_a_block_or_without_class_token() -> None:
    with pytest.raises(ConfigError, match=r"no attn.qkv.*pca and neighbours"):
        attention(nn.Sequential(nn.Flatten(), nn.Linear(48, 4)), torch.randn(1, 3, 4, 4))
    told = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 0}
    averaging = timm.models.VisionTransformer(**told, class_token=False, reg_tokens=2, global_pool="avg")
    with pytest.raises(ConfigError, match="no class token"):
        attention(averaging.eval(), torch.randn(1, 3, 16, 16))


def test_nothing_is_left_hooked() -> None:
    model = vit()
    attention(model, torch.randn(1, 3, 16, 16))
    last = model.blocks[-1].attn
    assert not last.qkv._forward_hooks and not last.proj._forward_pre_hooks
