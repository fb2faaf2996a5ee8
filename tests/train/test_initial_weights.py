"""What a run starts from: the backbone it was given, to the last bit of what it says about an image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from franca.config.recipes import load_recipe
from franca.errors import CheckpointError, ConfigError
from franca.models.registry import build_backbone
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import save_backbone
from franca.train.assembly import build_networks
from franca.train.initial_weights import initialize
from franca.train.student_teacher import StudentTeacher
from tests.models.reference import randomize

TINY = load_recipe("tiny", ["data.train=synthetic"])
SIZE_PX = TINY.data.global_size_px


def save(path: Path, image_size_px: int, **options: object) -> VisionTransformer:
    """A backbone of the tiny recipe's architecture, its parameters at random, in a file."""
    model = TINY.model
    arguments = {"width": model.width, "depth": model.depth, "num_heads": model.num_heads, "ffn": model.ffn} | options
    patch_size_px = model.patch_size_px
    backbone = build_backbone(model.arch, patch_size_px=patch_size_px, image_size_px=image_size_px, **arguments)
    randomize(backbone)
    save_backbone(path, backbone, mean=(0,) * 3, std=(1,) * 3, image_size_px=image_size_px)
    return backbone.eval()


def start_from(path: Path, *overrides: str) -> tuple[StudentTeacher, str]:
    config = load_recipe("tiny", ["data.train=synthetic", f"init.backbone={path}", *overrides])
    networks = build_networks(config)
    return networks, initialize(networks, config, torch.device("cpu"))


@pytest.mark.parametrize("interpolation", ["size", "offset"])
@pytest.mark.parametrize("patches_more", [0, 3])
def test_student_and_teacher_say_what_the_loaded_backbone_says(
    tmp_path: Path, patches_more: int, interpolation: str
) -> None:
    path = tmp_path / "backbone.safetensors"
    size_px = SIZE_PX + patches_more * TINY.model.patch_size_px
    backbone = save(path, size_px, position_interpolation=interpolation)
    networks, text = start_from(path)
    images = torch.randn(2, 3, SIZE_PX, SIZE_PX)
    wanted = backbone.features(images)
    for network in (networks.student, networks.teacher):
        found = network.backbone.eval().features(images)
        torch.testing.assert_close(found.cls, wanted.cls, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.patches, wanted.patches, rtol=0, atol=1e-6)
    assert ("positions resized" in text) == bool(patches_more)


def test_student_and_teacher_do_not_share_memory(tmp_path: Path) -> None:
    save(tmp_path / "backbone.safetensors", SIZE_PX)
    networks, _ = start_from(tmp_path / "backbone.safetensors")
    pairs = zip(networks.student.parameters(), networks.teacher.parameters(), strict=True)
    assert all(one.data_ptr() != other.data_ptr() for one, other in pairs)


def test_another_architecture_names_the_options_to_set(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    other = "mlp" if TINY.model.ffn == "swiglu" else "swiglu"
    save(path, SIZE_PX, ffn=other, num_registers=4, layer_scale=None)
    message = f"Set model.ffn={other} model.num_registers=4 model.layer_scale=null"
    with pytest.raises(ConfigError, match=message):
        start_from(path)
    start_from(path, *message.removeprefix("Set ").split())  # what the message says is what helps


def test_wrong_places(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        start_from(tmp_path / "nowhere")
    config = load_recipe("tiny", ["data.train=synthetic", f"init.full={tmp_path}"])
    with pytest.raises(CheckpointError, match="holds no complete checkpoint"):
        initialize(build_networks(config), config, torch.device("cpu"))
