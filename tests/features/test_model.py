"""One interface to backbones of several families, against what they give by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from franca.errors import CheckpointError, ConfigError, DataError
from franca.features.backbone import open_backbone
from franca.features.model import FeatureModel, check_image_size
from franca.models.vision_transformer import VisionTransformer
from tests.models.reference import randomize

timm = pytest.importorskip("timm")
TINY: dict[str, Any] = {"embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 0, "dynamic_img_size": True}


def vit(**changes: Any) -> Any:
    torch.manual_seed(0)
    return timm.models.VisionTransformer(**{"img_size": 16, "patch_size": 4, **TINY, **changes}).eval()


@torch.no_grad()
def test_ours_keeps_rows_and_columns() -> None:
    ours = VisionTransformer(width=24, depth=3, num_heads=2, patch_size_px=4, image_size_px=16, num_registers=2)
    randomize(ours)
    images = torch.randn(2, 3, 8, 20)
    features = FeatureModel(ours)(images, layers=2)
    expected = ours.features(images)
    assert features.patches is not None and features.patches.shape == (2, 2, 5, 24)
    torch.testing.assert_close(features.patches.flatten(1, 2), expected.patches)
    torch.testing.assert_close(features.cls[:, -1], expected.cls)
    assert features.cls.shape == (2, 2, 24)


class Headed(VisionTransformer):
    """A backbone whose ``forward`` gives something else than the class token."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("its head was asked")


@torch.no_grad()
def test_the_class_token_alone_is_had_the_short_way_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {"width": 24, "depth": 3, "num_heads": 2, "patch_size_px": 4, "image_size_px": 16}
    ours, headed = VisionTransformer(**told), Headed(**told)
    randomize(ours)
    headed.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 16, 16)
    whole = FeatureModel(headed)(images, patches=False)
    monkeypatch.setattr(ours, "get_intermediate_layers", None)
    short = FeatureModel(ours)(images, patches=False)
    assert short.patches is None
    torch.testing.assert_close(short.cls, whole.cls)


@torch.no_grad()
def test_timm_transformers_with_registers() -> None:
    model = vit(reg_tokens=4)
    images = torch.randn(2, 3, 8, 20)
    features = FeatureModel(model)(images, layers=9)
    tokens = model.forward_features(images)
    assert features.patches is not None and features.cls.shape == (2, 3, 16)
    torch.testing.assert_close(features.cls[:, -1], tokens[:, 0])
    torch.testing.assert_close(features.patches, tokens[:, 5:].unflatten(1, (2, 5)))


@torch.no_grad()
def test_timm_transformers_that_average_their_patches() -> None:
    model = vit(global_pool="avg")
    images = torch.randn(2, 3, 16, 16)
    features = FeatureModel(model)(images, layers=4)
    torch.testing.assert_close(features.cls, model(images)[:, None])
    assert features.patches is not None and features.patches.shape == (2, 4, 4, 16)


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "test_efficientnet"])
def test_timm_convolutions_give_their_last_map(name: str) -> None:
    model = open_backbone(f"timm:{name}", pretrained=False)
    images = torch.randn(2, 3, 64, 96)
    features = FeatureModel(model)(images)
    torch.testing.assert_close(features.cls[:, 0], model(images))
    assert features.patches is not None and features.patches.shape[:3] == (2, 2, 3)


def test_timm_names() -> None:
    model = open_backbone("timm:test_vit", pretrained=False)
    again = open_backbone("timm:test_vit", pretrained=False)
    assert FeatureModel(model).fingerprint == FeatureModel(again).fingerprint and not model.training
    assert FeatureModel(model).preprocessing.image_size_px == 160
    with pytest.raises(ConfigError, match=r"did you mean .*test_vit"):
        open_backbone("timm:test_vitt")
    with pytest.raises(ConfigError, match="contradict"):
        open_backbone("timm:test_vit", pretrained=False, weights="x.pth")


def test_timm_weights_from_a_file(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", num_classes=5)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    opened = open_backbone("timm:test_vit", weights=str(tmp_path / "weights.pth"))
    for name, tensor in opened.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    with pytest.raises(CheckpointError, match="weights of another model"):
        open_backbone("timm:resnet10t", weights=str(tmp_path / "weights.pth"))


def test_a_hub_folder(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(
        "from torch import nn\n"
        "def linear(pretrained=True, weights='default'):\n    return nn.Linear(3, 2 + pretrained)\n"
        "def text():\n    return 'a'\n"
    )
    assert open_backbone(f"hub:{tmp_path}:linear").out_features == 3
    assert open_backbone(f"hub:{tmp_path}:linear", pretrained=False).out_features == 2
    with pytest.raises(CheckpointError, match="hub:REPO:NAME"):
        open_backbone(f"hub:{tmp_path}:missing")
    with pytest.raises(ConfigError, match="returned str"):
        open_backbone(f"hub:{tmp_path}:text")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda images: {"cls": images}, "returns dict"),
        (lambda images: images, r"returns torch.float32 \[2, 3, 8, 8\]"),
        (lambda images: images.mean((1, 2, 3)), r"expected embeddings, floating point \[2, D\]"),
        (lambda images: images[0, 0], r"\[8, 8\] for 2 images"),
        (lambda images: images.long().sum((2, 3)), "int64"),
    ],
)
def test_a_model_that_returns_something_else(answer: Any, said: str) -> None:
    class Odd(nn.Module):
        def forward(self, images: Tensor) -> Any:
            return answer(images)

    with pytest.raises(ConfigError, match=said):
        FeatureModel(Odd())(torch.randn(2, 3, 8, 8))


def test_sizes_that_patches_do_not_tile() -> None:
    model = FeatureModel(vit())
    check_image_size(model, (8, 20))
    with pytest.raises(
        DataError, match=r"\[10,16\] is not .* 4 px; try image_size_px=\[8,16\] or image_size_px=\[12,16\]"
    ):
        check_image_size(model, (10, 16))
    check_image_size(FeatureModel(nn.Flatten()), (7, 9))


def test_a_model_of_timm_with_a_size_of_its_own() -> None:
    with pytest.raises(DataError, match="does not take images of"):
        FeatureModel(vit(dynamic_img_size=False))(torch.randn(1, 3, 8, 20))


def test_a_model_whose_blocks_give_no_class_token_is_read_by_its_embedding() -> None:
    """As the transformers of DINO are, whose ``get_intermediate_layers`` gives whole sequences."""

    class Older(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Identity()])

        def get_intermediate_layers(self, images: Tensor, n: int = 1) -> list[Tensor]:
            return [images.flatten(2).mT] * n

        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))

    images = torch.randn(2, 3, 8, 8)
    features = FeatureModel(Older())(images, layers=4)
    torch.testing.assert_close(features.cls, images.mean((2, 3))[:, None])
    assert features.patches is None
