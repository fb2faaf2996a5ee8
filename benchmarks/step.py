"""How fast one optimisation step is, and what packing all crops into one pass gains.

    python -m benchmarks.step --size small --json step.json

The same step is timed twice in one run: with all crops packed into one pass, and with one pass per crop size, which is
the baseline. Crops are random numbers, so data loading is not part of it. Medians over the timed steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.batch import Batch
from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.distributed.device import resolve_device, resolve_precision
from franca.models.vision_transformer import Features, VisionTransformer
from franca.train import assembly, initial_weights
from franca.train.clipping import Clip
from franca.train.step import train_step

DEMO_CROPS = ("data.global_size_px=40", "data.local_size_px=24", "data.num_local_crops=4", "model.patch_size_px=8")
SIZES: dict[str, tuple[str, ...]] = {
    "demo": ("model.arch=vit_tiny", "model.width=128", "model.depth=4", "model.num_heads=2", *DEMO_CROPS),
    "tiny": ("model.arch=vit_tiny", *DEMO_CROPS),
    "small": ("model.arch=vit_small",),
    "base": ("model.arch=vit_base",),
    "large": ("model.arch=vit_large",),
}


def main() -> None:
    """Time the step and print, or write, what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--prototypes", type=int, default=4096, help="prototypes of the widest level")
    parser.add_argument("--steps", type=int, default=10, help="timed steps, after three to warm up")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    overrides = [f"train.global_batch={args.batch}", f"objective.num_prototypes={args.prototypes}", *SIZES[args.size]]
    config = load_recipe("vits14", ["data.train=synthetic", *overrides])
    device = resolve_device(args.device)
    result = measure(config, device, resolve_precision(args.precision, device), args.steps)
    result = {"size": args.size} | result
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


def measure(config: Config, device: torch.device, precision: str, num_steps: int) -> dict[str, Any]:
    """Median seconds of a step, packed and not, and what follows from them."""
    networks = assembly.build_networks(config)
    initial_weights.initialize(networks, config, device)
    optimizer = assembly.build_optimizer(config, networks)
    objective = assembly.build_objective(config, precision=precision)
    schedule, clip = assembly.build_schedule(config), Clip(config.optim.clip_norm)
    batch = random_batch(config).to(device)

    def step() -> None:
        train_step(networks, objective, optimizer, [batch], schedule(1), clip=clip)

    packed = median_seconds(step, num_steps, device)
    for network in (networks.student, networks.teacher):
        one_pass_per_group(network.backbone)
    unpacked = median_seconds(step, num_steps, device)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
        "batch": batch.num_images,
        "step_seconds": packed,
        "images_per_second": batch.num_images / packed,
        "unpacked_step_seconds": unpacked,
        "speedup_of_packing": unpacked / packed,
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def random_batch(config: Config) -> Batch:
    """A batch of noise in the shapes of the recipe, half of the global crops masked by 40 %."""
    generator = torch.Generator().manual_seed(0)
    images, data = config.train.global_batch, config.data
    patches = (data.global_size_px // config.model.patch_size_px) ** 2
    masks = torch.rand(2 * images, patches, generator=generator) < 0.4
    masks[::2] = False

    def noise(number: int, size: int) -> Tensor:
        return torch.randn(number, 3, size, size, generator=generator)

    return Batch(
        global_crops=noise(2 * images, data.global_size_px),
        local_crops=noise(data.num_local_crops * images, data.local_size_px),
        masks=masks,
        masked_rows=masks.flatten().nonzero().flatten(),
        positions=torch.arange(images),
        samples=torch.arange(images),
        global_batch=images,
    )


def one_pass_per_group(backbone: VisionTransformer) -> None:
    """Make ``forward_crops`` run each group of crops on its own."""
    packed: Callable[..., list[Features]] = backbone.forward_crops

    def separate(
        crops: Sequence[Tensor], masks: Sequence[Tensor | None] | None = None, **options: Any
    ) -> list[Features]:
        each = masks or [None] * len(crops)
        return [packed([crop], [mask], **options)[0] for crop, mask in zip(crops, each, strict=True)]

    backbone.forward_crops = separate  # type: ignore[method-assign]


def median_seconds(step: Callable[[], None], num_steps: int, device: torch.device) -> float:
    """Median time of a step after three that warm up."""
    times = []
    for _ in range(num_steps + 3):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[3:])


if __name__ == "__main__":
    main()
