from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch

import franca
from franca.errors import CheckpointError, ConfigError
from franca.models import releases
from franca.models.fingerprint import fingerprint
from franca.models.hub import load
from franca.models.projector import Projector
from franca.models.projector_file import ProjectorFile
from franca.models.registry import build_release
from franca.models.releases import Weights
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import save_backbone
from tests.models.released import SMALL, chunked, heads, in_pieces, prefixed, small
from tests.models.server import Site, serve

TINY: dict[str, Any] = {"width": 16, "depth": 1, "num_heads": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder whose export is a small backbone of one of our names."""
    (tmp_path / "exports").mkdir()
    model = build_release("franca_vits14", **TINY, image_size_px=28)
    save_backbone(tmp_path / "exports" / "teacher.safetensors", model, mean=(0,) * 3, std=(1,) * 3, image_size_px=28)
    return tmp_path


def test_a_run_folder_and_its_export_are_the_same_backbone(run: Path) -> None:
    images = torch.randn(1, 3, 28, 28)
    found = [load(run), load(str(run)), load(run / "exports" / "teacher.safetensors"), franca.load(run)]
    assert all(torch.equal(one(images), found[0](images)) for one in found)
    assert not any(one.training for one in found)
    assert found[0].preprocessing.image_size_px == 28


def test_a_named_backbone_with_random_weights() -> None:
    model = load("franca_vits14", pretrained=False, **TINY, num_registers=4)
    assert not model.training
    assert model(torch.randn(1, 3, 28, 28)).shape == (1, 16)
    assert model.num_registers == 4


def test_a_named_backbone_with_weights_of_a_file(run: Path) -> None:
    for weights in (run, run / "exports" / "teacher.safetensors"):
        model = load("franca_vits14", weights=weights, **TINY)
        assert torch.equal(model.pos_embed, load(run).pos_embed)


def test_weights_of_another_architecture(run: Path) -> None:
    with pytest.raises(CheckpointError, match="not of franca_vitb14: width is 16 instead of 768"):
        load("franca_vitb14", weights=run)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("franca_vits14", {}, CheckpointError, "no public weights.*pretrained=False"),
        (
            "franca_vitb41",
            {"pretrained": False},
            CheckpointError,
            "Did you mean franca_vitb1.*franca_vits14.*franca_vitg16",
        ),
        ("franca_vitb14", {"pretrained": False, "weights": "x"}, ConfigError, "contradict"),
        ("FRANCA_VITB14", {}, CheckpointError, r"Did you mean franca_vitb14\?"),
        ("franca_vitb14", {"weights": 3}, ConfigError, "weights is 3, but must be a name, a path or a URL"),
        ("franca_vitb14", {"num_register": 4}, ConfigError, r"no num_register. Did you mean num_registers\? .*width"),
        ("franca_vits14", {"pretrained": False, "img_size": 28, "image_size_px": 28}, ConfigError, "the same argument"),
        (
            "franca_vits14",
            {"pretrained": False, "image_size_px": "518"},
            ConfigError,
            "image_size_px is '518', but must",
        ),
        ("franca_vits14", {"pretrained": False, "image_size_px": (518,)}, ConfigError, r"image_size_px is \(518,\)"),
        ("franca_vits14", {"pretrained": False, "width": "16"}, ConfigError, "width is '16', but must be a whole num"),
        ("franca_vits14", {"pretrained": False, **TINY, "mean": 0.5}, ConfigError, "mean is 0.5, but must be a list"),
        ("franca_vits14", {"pretrained": False, **TINY, "std": (1, 0, 1)}, ConfigError, "std is .*numbers above 0"),
        ("franca_vitb14", {"weights": "/none"}, CheckpointError, "/none: No such file"),
        (
            "franca_vitb14",
            {"weights": "LAION"},
            CheckpointError,
            r"No weights LAION: .* nor a name. Weights of franca_vitb14: IN21K \(default\), IN21K_224, IN21K_518",
        ),
        ("franca_vitl14", {"weights": "IN21K"}, CheckpointError, "not public: .*identical to DINOv2-L"),
        ("franca_vits14", {"weights": "IN21K"}, CheckpointError, "No weights IN21K.*none by name"),
        (
            "franca_vits14",
            {"pretrained": False, **TINY, "mean": (0, 0)},
            ConfigError,
            "mean has 2 numbers.* 3 channels",
        ),
    ],
)
def test_wrong_use(name: str, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(name, **arguments)


def test_a_folder_without_an_export(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no exports/teacher.safetensors"):
        load(tmp_path)


def test_a_path_takes_no_overrides(run: Path) -> None:
    with pytest.raises(ConfigError, match="leave out pretrained=False, num_registers"):
        load(run, pretrained=False, num_registers=4)


FOREIGN: dict[str, Any] = {**SMALL, "verbose": False}


@pytest.fixture
def model() -> VisionTransformer:
    return small()


@pytest.fixture
def checkpoint(model: VisionTransformer, tmp_path: Path) -> Path:
    """A file as the authors release it, of a small model."""
    path = tmp_path / "franca_vitb14_In21K.pth"
    torch.save({"teacher": prefixed(chunked(model.state_dict()), "backbone.") | heads()}, path)
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server, and an empty cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    with serve() as site:
        yield site


def same(one: VisionTransformer, other: VisionTransformer) -> bool:
    images = torch.randn(1, 3, 28, 56, generator=torch.Generator().manual_seed(0))
    return torch.equal(one.features(images).patches, other.features(images).patches)


def test_a_checkpoint_of_others_by_path_address_and_name(checkpoint: Path, model: VisionTransformer) -> None:
    found = [
        load(checkpoint, verbose=False),
        franca.load(checkpoint.as_uri(), verbose=False),
        load("franca_vitb14", weights=checkpoint, **FOREIGN),
        load("franca_vitb14", weights=str(checkpoint), **FOREIGN),
        load("franca_vitb14", weights=checkpoint.as_uri(), **FOREIGN),
    ]
    assert all(same(one, model) for one in found)
    assert not any(one.training for one in found)
    assert found[0].export_info == {"source": str(checkpoint), "layout": "dinov2"}


def test_what_matched_is_told_once(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(checkpoint)
    assert capsys.readouterr().err.count("0 missing, 0 unexpected; 4 of training heads left aside\n") == 1
    load(checkpoint, verbose=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "franca_vitl14",
            {},
            "not of franca_vitl14: width is 128 instead of 1024, depth is 5 instead of 24, num_heads",
        ),
        ("dinov2_vitb14", SMALL, "not of dinov2_vitb14: ffn is 'swiglu' instead of 'mlp'"),
        ("franca_vitb16", SMALL, "patch_size_px is 14 instead of 16"),
        ("franca_vitb14", {**SMALL, "num_registers": 4}, "num_registers is 0 instead of 4"),
        ("franca_vitb14", {**SMALL, "layer_scale": None}, "layer_scale is 1e-05 instead of None"),
        (
            "franca_vitb14",
            {**SMALL, "position_interpolation": "size", "num_registers": 1},
            "num_registers is 0 instead",
        ),
    ],
)
def test_a_checkpoint_of_another_architecture(
    checkpoint: Path, name: str, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(name, weights=checkpoint, verbose=False, **overrides)


def test_layer_scale_that_a_name_has_and_a_file_lacks(tmp_path: Path) -> None:
    torch.save(small(layer_scale=None).state_dict(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="not of franca_vitb14: it has no layer scale"):
        load("franca_vitb14", weights=tmp_path / "a.pth", **FOREIGN)


def test_what_a_file_does_not_tell(tmp_path: Path) -> None:
    model = small(width=24, num_heads=3, image_size_px=(42, 28), position_interpolation="size", in_chans=2)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    told: dict[str, Any] = {"num_heads": 3, "image_size_px": (42, 28), "position_interpolation": "size"}
    found = load(tmp_path / "a.pth", **told, mean=[0.1, 0.2], std=(1, 2), verbose=False)
    assert found.config == model.config
    assert (found.preprocessing.mean, found.preprocessing.std) == ((0.1, 0.2), (1, 2))
    named = load("franca_vitb14", weights=tmp_path / "a.pth", width=24, depth=5, in_chans=2, **told, verbose=False)
    assert named.config == model.config
    with pytest.raises(
        ConfigError, match=r"leave out depth. Of such a file, only num_heads, position_interpolation, im"
    ):
        load(tmp_path / "a.pth", depth=5)
    with pytest.raises(ConfigError, match="std has 3 numbers, but the backbone takes 2 channels"):
        load(tmp_path / "a.pth", **told, std=(1, 1, 1), verbose=False)


def test_our_exports_tell_everything_but_may_be_normalised_otherwise(run: Path) -> None:
    for key in ("num_heads", "position_interpolation", "image_size_px"):
        with pytest.raises(ConfigError, match=f"leave out {key}.$"):
            load(run, **{key: 2})
    assert load(run, mean=(1, 2, 3)).preprocessing.mean == (1, 2, 3)
    assert load(run, mean=(1, 2, 3)).preprocessing.std == load(run).preprocessing.std


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch, site: Site) -> Weights:
    """The default weights of a model, moved to our server."""
    weights = replace(releases.default_weights("franca_vitb14"), urls=(f"{site.address}/a.pth",))
    monkeypatch.setattr(releases, "WEIGHTS", (weights,))
    return weights


def test_released_weights_by_name(
    site: Site, released: Weights, checkpoint: Path, model: VisionTransformer, tmp_path: Path
) -> None:
    site.files["/a.pth"] = checkpoint.read_bytes()
    for arguments in ({}, {"weights": "in21k"}, {"weights": "IN21K"}):
        found = load("franca_vitb14", **arguments, **FOREIGN)
        assert same(found, model)
    assert site.requests == ["/a.pth"]
    assert (tmp_path / "hub" / "checkpoints" / released.file).exists()
    assert found.export_info["weights"] == "IN21K"
    assert found.export_info["licence"] == "research-only RAIL"


def test_wrong_arguments_are_told_before_a_download(site: Site, released: Weights) -> None:
    with pytest.raises(ConfigError, match="num_heads"):
        load("franca_vitb14", num_heads=5)
    assert site.requests == []


def test_pieces_by_name_path_and_folder(
    site: Site, checkpoint: Path, model: VisionTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pieces").mkdir()
    pieces = in_pieces(checkpoint, tmp_path / "pieces")
    site.files |= {f"/{piece.name}": piece.read_bytes() for piece in pieces}
    giant = replace(
        releases.default_weights("franca_vitg14"), urls=tuple(f"{site.address}/{piece.name}" for piece in pieces)
    )
    monkeypatch.setattr(releases, "WEIGHTS", (giant,))
    found = [
        load("franca_vitg14", **FOREIGN),
        load("franca_vitg14", weights="LAION", **FOREIGN),
        load("franca_vitg14", weights=pieces[0], **FOREIGN),
        load(tmp_path / "pieces", verbose=False),
    ]
    assert all(same(one, model) for one in found)
    assert len(site.requests) == 3
    assert sorted((tmp_path / "pieces").iterdir()) == pieces


def test_an_address_as_weights_and_as_model(site: Site, checkpoint: Path, model: VisionTransformer) -> None:
    site.files["/x/a.pth"] = checkpoint.read_bytes()
    assert same(load("franca_vitb14", weights=f"{site.address}/x/a.pth", **FOREIGN), model)
    assert same(load(f"{site.address}/x/a.pth", verbose=False), model)
    assert site.requests == ["/x/a.pth"]
    with pytest.raises(CheckpointError, match="404"):
        load(f"{site.address}/none.pth", verbose=False)


class Released(Enum):
    """As the hub of Franca's authors names weights."""

    IN21K = "In21K"
    OF_ANOTHER_NAME = "in21k"


@pytest.mark.parametrize("weights", Released)
def test_weights_as_members_of_an_enumeration(
    site: Site, released: Weights, checkpoint: Path, model: VisionTransformer, weights: Any
) -> None:
    site.files["/a.pth"] = checkpoint.read_bytes()
    assert same(load("franca_vitb14", weights=weights, **FOREIGN), model)


@pytest.mark.parametrize("word", ["img_size", "image_size_px"])
@pytest.mark.parametrize("size_px", [28, (28, 56)])
def test_positions_of_weights_on_another_grid(
    checkpoint: Path, model: VisionTransformer, word: str, size_px: Any
) -> None:
    found = load("franca_vitb14", weights=checkpoint, **FOREIGN, **{word: size_px})
    assert found.position_grid == (2, 2 if size_px == 28 else 4)
    images = torch.randn(1, 3, 28, 28 if size_px == 28 else 56)
    assert torch.equal(found.features(images).patches, model.features(images).patches)


def test_arguments_that_change_nothing_of_what_weights_compute(checkpoint: Path, model: VisionTransformer) -> None:
    found = load("franca_vitb14", weights=checkpoint, **FOREIGN, stochastic_depth=0.2, layer_scale=0.1)
    assert (found.stochastic_depth, found.config["layer_scale"]) == (0.2, 0.1)
    assert same(found, model)


def test_no_heads_are_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="num_heads is 0"):
        load(checkpoint, num_heads=0, verbose=False)


def test_a_cached_file_that_cannot_be_read_is_named(site: Site, released: Weights, checkpoint: Path) -> None:
    cached = Path(torch.hub.get_dir()) / "checkpoints" / released.file
    cached.parent.mkdir(parents=True)
    cached.write_text("<html>")
    with pytest.raises(CheckpointError, match=f"is no checkpoint.*delete {cached}, and it is downloaded again"):
        load("franca_vitb14", **FOREIGN)
    cached.unlink()
    site.files["/a.pth"] = checkpoint.read_bytes()
    assert load("franca_vitb14", **FOREIGN).width == SMALL["width"]


@pytest.fixture
def rasa(run: Path, tmp_path: Path) -> Path:
    path = tmp_path / "rasa.safetensors"
    directions = torch.randn(4, 16, generator=torch.Generator().manual_seed(7))
    ProjectorFile(Projector.removing(directions), fingerprint(load(run))).write(path)
    return path


def test_a_projector_gives_further_patch_tokens(run: Path, rasa: Path) -> None:
    images = torch.randn(1, 3, 28, 42)
    raw = load(run).forward_features(images)
    for model in (
        load(run, rasa=rasa),
        franca.load(run, rasa=str(rasa)),
        load("franca_vits14", weights=run, rasa=rasa, **TINY),
    ):
        found = model.forward_features(images)
        assert set(found) - set(raw) == {"patch_token_rasa"}
        for name, value in raw.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0)
        expected = Projector.removing(torch.randn(4, 16, generator=torch.Generator().manual_seed(7)))(
            raw["x_norm_patchtokens"]
        )
        torch.testing.assert_close(found["patch_token_rasa"], expected)
        assert set(model.state_dict()) == set(load(run).state_dict())
        assert torch.equal(model(images), load(run)(images))


def test_a_projector_with_positions_for_other_images(run: Path, rasa: Path) -> None:
    """It belongs to the weights of the file, whatever grid their positions are brought to."""
    model = load("franca_vits14", weights=run, rasa=rasa, img_size=56, **TINY)
    assert model.position_grid == (4, 4)
    assert "patch_token_rasa" in model.forward_features(torch.randn(1, 3, 56, 56))


def test_a_projector_of_other_weights_or_none(run: Path, rasa: Path) -> None:
    with pytest.raises(CheckpointError, match="was fitted on another backbone"):
        load("franca_vits14", pretrained=False, rasa=rasa, **TINY, num_registers=1)
    with pytest.raises(CheckpointError, match=r"No projector .*none: no such file"):
        load(run, rasa=run / "none")
    with pytest.raises(ConfigError, match="rasa is 3, but must be"):
        load(run, rasa=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tokens of width 8, the backbone has 16"):
        load(run).attach_projector(Projector.removing(torch.ones(1, 8)))


def test_a_projector_moves_with_the_model(run: Path, rasa: Path) -> None:
    model = load(run, rasa=rasa).bfloat16()
    tokens = model.forward_features(torch.randn(1, 3, 28, 28).bfloat16())["patch_token_rasa"]
    assert tokens.dtype == torch.bfloat16
    model.attach_projector(None)
    assert "patch_token_rasa" not in model.forward_features(torch.randn(1, 3, 28, 28).bfloat16())
