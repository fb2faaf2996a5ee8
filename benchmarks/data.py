"""How many images a second one core brings from files to the crops of a batch, against the usual ways of doing it.

    python -m benchmarks.data [SRC] [--tile 500x375] --json data.json

Every way sees the same images on the same single core in one run; they take turns, and the best turn of each counts.
Time is that of the processor, so that other work on the machine disturbs less. The ways:

- ``decode``: PIL alone, to bytes of full size: the limit for everything that decodes whole images with PIL;
- ``pil``: PIL and torchvision's first transforms, one image after the other, put together as DINOv2 and Franca do;
- ``webdataset``: the same transforms in a plain webdataset pipeline;
- ``franca``: what `franca pretrain` does in its workers;
- ``franca_augment_on_device``: the workers' part of it where the device does the colours.

Without SRC the images are drawn. With ``--tile`` pictures of SRC, which may be small, are laid side by side.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from PIL import Image
from torch import Tensor
from torchvision import transforms

from benchmarks.images import image_files, write_shard
from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.data.collate import PretrainingData
from franca.data.decode import decode
from franca.data.sources import open_source

Views = tuple[Tensor, Tensor]

WHOLE = ("performance.micro_batch=null",)  # a batch in one piece


def main() -> None:
    """Time all ways and print, or write, what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="synthetic", metavar="SRC")
    parser.add_argument("--tile", type=size, metavar="WxH", help="make images of this size; drawn ones are 500x375")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32, help="images a batch")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = image_files(args.source, args.tile, args.images)
    with tempfile.TemporaryDirectory() as folder:
        shard = write_shard(Path(folder, "images.tar"), files)
        config = load_recipe("vits14", [f"data.train={shard}", f"train.global_batch={args.batch}", *WHOLE])
        result = measure(ways(shard, files, config), args.turns, len(files))
    sizes = [Image.open(io.BytesIO(file)).size for file in files]
    result = {
        "source": args.source,
        "images": len(files),
        "mean_size_px": [round(float(np.mean(side)), 1) for side in zip(*sizes, strict=True)],
        "mean_bytes": round(float(np.mean([len(file) for file in files]))),
        "torch": torch.__version__,
        **result,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


def ways(shard: Path, files: list[bytes], config: Config) -> dict[str, Callable[[], object]]:
    """What is compared, by name; a call handles every image once."""
    data = PretrainingData.from_config(open_source(str(shard)), config)
    batch = config.train.global_batch
    views = TorchvisionViews(config)
    return {
        "decode": lambda: [decode(file, "") for file in files],
        "pil": lambda: list(batched((views(rgb(file)) for file in files), batch)),
        "webdataset": lambda: list(webdataset_batches(shard, views, batch)),
        "franca": lambda: [data[index] for index in range(len(files) // batch)],
        "franca_augment_on_device": lambda: [data.cut(index) for index in range(len(files) // batch)],
    }


def measure(candidates: dict[str, Callable[[], object]], turns: int, num_images: int) -> dict[str, Any]:
    """Images per second of processor time, the best of several turns, and what follows from them."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(turns):
        for name, way in candidates.items():
            started = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - started)
    rates = {name: num_images / seconds for name, seconds in best.items()}
    return {
        "images_per_core_second": {name: round(rate, 1) for name, rate in rates.items()},
        "speedup_over_pil": round(rates["franca"] / rates["pil"], 2),
        "speedup_over_webdataset": round(rates["franca"] / rates["webdataset"], 2),
        "speedup_over_pil_augment_on_device": round(rates["franca_augment_on_device"] / rates["pil"], 2),
        "share_of_decode_limit": round(rates["franca"] / rates["decode"], 3),
    }


class TorchvisionViews:
    """The views of one image by torchvision's first transforms, with the recipe's probabilities."""

    def __init__(self, config: Config) -> None:
        data = config.data
        self._num_local = data.num_local_crops
        self._first = _view(config, data.global_size_px, data.global_scale, blur=1.0)
        self._second = _view(config, data.global_size_px, data.global_scale, blur=0.1, solarize=data.solarize)
        self._local = _view(config, data.local_size_px, data.local_scale, blur=0.5)

    def __call__(self, image: Image.Image) -> Views:
        """Two global crops [2, 3, S, S] and the local ones [V, 3, s, s]."""
        large = [self._first(image), self._second(image)]
        return torch.stack(large), torch.stack([self._local(image) for _ in range(self._num_local)])


def _view(
    config: Config, size_px: int, scale: list[float], *, blur: float, solarize: float = 0.0
) -> Callable[[Image.Image], Tensor]:
    data = config.data
    steps = [
        transforms.RandomResizedCrop(size_px, scale, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.RandomHorizontalFlip(data.flip),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=data.color_jitter),
        transforms.RandomGrayscale(data.grayscale),
        transforms.RandomApply([transforms.GaussianBlur(9, tuple(data.blur_sigma_px))], p=blur),
        *([transforms.RandomSolarize(128, solarize)] if solarize else []),
        transforms.ToTensor(),
        transforms.Normalize(data.mean, data.std),
    ]
    view: Callable[[Image.Image], Tensor] = transforms.Compose(steps)
    return view


def webdataset_batches(shard: Path, views: TorchvisionViews, size: int) -> Iterator[Views]:
    """A pipeline as webdataset's manual shows it."""
    samples = webdataset.WebDataset(str(shard), shardshuffle=False).shuffle(100).decode("pilrgb").to_tuple("jpg")
    return batched(samples.map_tuple(views), size, unpack=True)


def batched(items: Iterable[Any], size: int, *, unpack: bool = False) -> Iterator[Views]:
    """Stack the views of so many images into a batch."""
    waiting: list[Views] = []
    for item in items:
        waiting.append(item[0] if unpack else item)
        if len(waiting) == size:
            large, small = zip(*waiting, strict=True)
            yield torch.cat(large), torch.cat(small)
            waiting = []


def rgb(file: bytes) -> Image.Image:
    """Decode as the usual data sets do."""
    return Image.open(io.BytesIO(file)).convert("RGB")


def size(text: str) -> tuple[int, int]:
    """``500x375`` as width and height."""
    width, _, height = text.partition("x")
    return int(width), int(height)


if __name__ == "__main__":
    main()
