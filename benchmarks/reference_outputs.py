"""What a reference implementation computes with random weights; `benchmarks.parity` runs this inside its checkout.

    cd CHECKOUT && PYTHONPATH=ROOT python -m benchmarks.reference_outputs NAME --grid-px N --sizes 224x224 --folder OUT

Nothing of this package is imported here, since a checkout of Franca brings a package of the same name.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.models.reference import randomize

WEIGHTS_FILE = "weights.pth"
OUTPUTS_FILE = "outputs.pt"
LARGEST_PAIR_PX = 224 * 224  # images up to this size come in pairs, larger ones alone
FEATURES = ("x_norm_clstoken", "x_norm_regtokens", "x_norm_patchtokens", "x_prenorm")
Size = tuple[int, int]  # height and width, in pixels


def main() -> None:
    """Write weights as the authors released them, and for every size images, masks and all outputs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--grid-px", type=int, required=True, help="image size of the stored position embeddings")
    parser.add_argument("--sizes", type=parse_size, nargs="+", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    build = build_franca if args.name.startswith("franca") else build_dinov2
    model = build(args.name, args.grid_px, args.folder / WEIGHTS_FILE).eval()
    with torch.inference_mode():
        found = [(images, masks, outputs(model, images, masks)) for images, masks in draw_inputs(args.sizes)]
    torch.save(found, args.folder / OUTPUTS_FILE)


def parse_size(text: str) -> Size:
    """``224x280`` is 224 pixels high and 280 wide."""
    height, width = text.split("x")
    return int(height), int(width)


def build_dinov2(name: str, grid_px: int, path: Path) -> nn.Module:
    """A model of DINOv2; its released files are plain state dicts."""
    model: nn.Module = getattr(importlib.import_module("dinov2.hub.backbones"), name)(
        pretrained=False, img_size=grid_px
    )
    randomize(model)
    torch.save(model.state_dict(), path)
    return model


def build_franca(name: str, grid_px: int, path: Path) -> nn.Module:
    """A model of Franca, which its own hub reads from a file like the released ones: a teacher, its blocks chunked."""
    hub = importlib.import_module("franca.hub.backbones")
    arch = {"b": "vit_base", "l": "vit_large", "g": "vit_giant2"}[name.removeprefix("franca_vit")[0]]
    build = importlib.import_module("franca.models").build_model
    chunked, _ = build(hub.FrancaConfig(arch=arch), only_teacher=True, img_size=grid_px)
    randomize(chunked)
    torch.save({"teacher": {f"backbone.{key}": value for key, value in chunked.state_dict().items()}}, path)
    del chunked
    model: nn.Module = getattr(hub, name)(weights="IN21K", local_state_dict=str(path), img_size=grid_px)
    return model


def draw_inputs(sizes: Sequence[Size]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images [B, 3, H, W] and masks [B, N] of every size."""
    generator = torch.Generator().manual_seed(1)
    for height, width in sizes:
        number = 2 if height * width <= LARGEST_PAIR_PX else 1
        images = torch.randn(number, 3, height, width, generator=generator)
        yield images, torch.rand(number, (height // 14) * (width // 14), generator=generator) < 0.4


def outputs(model: Any, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Everything that users read from a backbone with DINOv2's interface, by a name that says how it was asked for."""
    found = {"forward": model(images)}
    plain, masked = model.forward_features(images), model.forward_features(images, masks)
    found |= {f"forward_features {key}": plain[key] for key in FEATURES}
    found |= {f"forward_features masked {key}": masked[key] for key in FEATURES}
    depth = len(model.blocks)
    for n, norm in ((4, False), ([0, depth // 2], True)):
        call = f"get_intermediate_layers n={n} norm={norm}"
        both = model.get_intermediate_layers(images, n, reshape=norm, return_class_token=True, norm=norm)
        for index, (patches, cls) in enumerate(both):
            found |= {f"{call} [{index}] patches": patches, f"{call} [{index}] cls": cls}
    return found


if __name__ == "__main__":
    main()
