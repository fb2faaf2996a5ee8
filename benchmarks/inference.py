"""How fast inference is, beside timm and DINOv2's own code on the same weights.

    python -m benchmarks.inference --size small --batch 1 8 --image-px 224 --json inference.json

All contenders get the same random weights and images, and take turns within one run; the table gives the median time
of each and the median of the ratios ours / theirs of the same round, so a busy machine weighs on both alike. Below 1 we
are faster. The outputs are compared too: the class embedding, what calling a model gives, or all patch tokens.
DINOv2's code joins where FRANCA_REFERENCE_DINOV2 names a checkout of github.com/facebookresearch/dinov2. On a GPU
everything is timed again under ``torch.compile``.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from operator import truediv
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from franca.distributed.device import DTYPES, resolve_device
from franca.layers.position import resize_positions
from franca.models.layouts import to_timm
from franca.models.registry import build_release
from franca.models.vision_transformer import VisionTransformer
from tests.models.reference import randomize

REFERENCE = "FRANCA_REFERENCE_DINOV2"
SIZES = {"small": "dinov2_vits14", "base": "dinov2_vitb14", "large": "dinov2_vitl14"}
OURS = "franca"
WARM_UP_ROUNDS = 2
Model = Callable[[Tensor], Tensor]


def main() -> None:
    """Time every combination asked for; print a table, and write it where told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, nargs="+", default=["small"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--image-px", type=int, nargs="+", default=[224])
    parser.add_argument("--precision", choices=DTYPES, nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--output", choices=OUTPUTS, nargs="+", default=["class"])
    parser.add_argument("--rounds", type=int, default=10, help=f"timed rounds, after {WARM_UP_ROUNDS} to warm up")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    device = resolve_device(args.device)
    rows = []
    for size, image_px, output in itertools.product(args.size, args.image_px, args.output):
        models = {name: OUTPUTS[output](model) for name, model in contenders(size, image_px, device).items()}
        for compiled in (False, True) if device.type == "cuda" else (False,):
            runs = {name: torch.compile(model) if compiled else model for name, model in models.items()}
            for batch, precision in itertools.product(args.batch, args.precision):
                images = torch.randn(batch, 3, image_px, image_px, device=device)
                setting = {"size": size, "image_px": image_px, "output": output, "batch": batch, "precision": precision}
                row = setting | {"compiled": compiled} | measure(runs, images, precision, args.rounds)
                print(describe(row), flush=True)
                rows.append(row)
    if args.json:
        result = {"device": device_name(device), "threads": torch.get_num_threads(), "torch": torch.__version__}
        args.json.write_text(json.dumps(result | {"rows": rows}, indent=2) + "\n")


class Patches(nn.Module):
    """The patch tokens [B, N, D] of anybody's model, by their common name for them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] to patch tokens."""
        features = self.model.forward_features(images)  # type: ignore[operator]
        patches: Tensor = features[:, 1:] if isinstance(features, Tensor) else features["x_norm_patchtokens"]
        return patches


OUTPUTS: dict[str, Callable[[nn.Module], nn.Module]] = {"class": lambda model: model, "patches": Patches}


def contenders(size: str, image_px: int, device: torch.device) -> dict[str, nn.Module]:
    """The same network by everybody, with positions stored for images of 518 pixels, as in the released weights."""
    name = SIZES[size]
    ours = build_release(name)
    randomize(ours)
    models: dict[str, nn.Module] = {OURS: ours, "timm": by_timm(size, ours, image_px)}
    if REFERENCE in os.environ:
        models["dinov2"] = by_reference(name, ours)
    return {name: model.eval().to(device) for name, model in models.items()}


def by_timm(size: str, ours: VisionTransformer, image_px: int) -> nn.Module:
    """Timm's model, built for one image size, with positions that were resized once, by us."""
    model: nn.Module = timm.create_model(f"vit_{size}_patch14_dinov2", num_classes=0, img_size=image_px)
    positions, side = ours.pos_embed.detach(), image_px // ours.patch_size_px
    resized = resize_positions(positions[:, 1:], ours.position_grid, (side, side), ours.position_interpolation)
    model.load_state_dict(to_timm(ours.state_dict()) | {"pos_embed": torch.cat([positions[:, :1], resized], dim=1)})
    return model


def by_reference(name: str, ours: VisionTransformer) -> nn.Module:
    """The model of a checkout of DINOv2, which resizes the positions in every forward."""
    os.environ["XFORMERS_DISABLED"] = "1"
    sys.path.append(os.environ[REFERENCE])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: nn.Module = getattr(importlib.import_module("dinov2.hub.backbones"), name)(pretrained=False)
    model.load_state_dict(ours.state_dict())
    return model


@torch.inference_mode()
def measure(models: Mapping[str, Model], images: Tensor, precision: str, num_rounds: int) -> dict[str, Any]:
    """Seconds of every model, taking turns; how ours compare, and how far their outputs are from ours."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    outputs: dict[str, Tensor] = {}
    with torch.autocast(images.device.type, DTYPES[precision], enabled=precision != "fp32"):
        for _ in range(num_rounds + WARM_UP_ROUNDS):
            for name, model in models.items():
                synchronize(images.device)
                started = time.perf_counter()
                outputs[name] = model(images)
                synchronize(images.device)
                seconds[name].append(time.perf_counter() - started)
    timed = {name: values[WARM_UP_ROUNDS:] for name, values in seconds.items()}
    others = [name for name in models if name != OURS]
    expected = outputs[OURS].float()
    return {
        "seconds": {name: statistics.median(values) for name, values in timed.items()},
        "ratio": {name: statistics.median(map(truediv, timed[OURS], timed[name])) for name in others},
        "relative_difference": {
            name: ((outputs[name].float() - expected).abs().max() / expected.abs().max()).item() for name in others
        },
    }


def synchronize(device: torch.device) -> None:
    """Wait for a GPU; on the CPU nothing runs on its own."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(row: Mapping[str, Any]) -> str:
    """One line of the table."""
    compiled = "compiled" if row["compiled"] else "eager"
    line = f"{row['size']:6} {row['image_px']:4} px  {row['output']:7}  batch {row['batch']:3}  {row['precision']}"
    line += f"  {compiled:8}  franca {1000 * row['seconds'][OURS]:8.2f} ms"
    for name, ratio in row["ratio"].items():
        line += f"  /{name} {ratio:.3f} (outputs differ by {row['relative_difference'][name]:.0e})"
    return line


def device_name(device: torch.device) -> str:
    """What the numbers were measured on."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
