"""What taking position out of patch features does to them: on a model, or on features with position planted in them.

    python -m benchmarks.rasa planted --picture rasa.png --json rasa.json
    python -m benchmarks.rasa MODEL --train DIR:train --val DIR:val --image-px 128 --json rasa.json

A projector is fitted on the training images in three ways: as the paper does, with batches that give as many steps as
its 17,125 images in batches of 128; by regressors at their optimum; and by covariance. Position is then read anew from
images that no projector has seen: least squares is fitted on one half of the validation images and judged on the other.
Linear segmentation, in-context segmentation and overclustering are judged on the validation images, for every seed on
raw features and on those of each projector of that seed. In brackets is the mean of the paired differences to raw
features, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import interpolate

from franca.data.sources import open_source
from franca.distributed.device import resolve_device
from franca.evaluation.dense import incontext, overcluster, position
from franca.evaluation.dense.confusion import confusion_matrix, scores
from franca.evaluation.dense.entropy import spatial_entropy
from franca.evaluation.dense.heads import Training, train_heads
from franca.evaluation.dense.kmeans import kmeans
from franca.evaluation.dense.repeats import Repeats
from franca.evaluation.dense.variants import Variant
from franca.evaluation.subject import Subject
from franca.features.backbone import open_backbone
from franca.features.extract import extract
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.patches import PatchTable
from franca.features.settings import FeatureSettings
from franca.features.table import Wanted
from franca.rasa.fit import Fitted, fit
from franca.rasa.settings import COVARIANCE, LBFGS, RasaSettings
from franca.rasa.targets import positions

PLANTED = "planted"
RAW = "raw"
PAPER_STEPS = 17_125 // 128  # of an epoch
LINEAR_EPOCHS, LINEAR_BATCH = 100, 16
ENTROPY_CLUSTERS = 100
Metrics = dict[str, float]


def main() -> None:
    """Judge every way for every seed; print tables, and write them where told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help=f"what franca eval takes, or {PLANTED}")
    parser.add_argument("--train", default="synthetic", help="images with masks")
    parser.add_argument("--val", default="synthetic", help="images with masks")
    parser.add_argument("--image-px", type=int, nargs="+", help="one number, or height and width")
    parser.add_argument("--clusters", type=int, default=100, help="of overclustering")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--picture", type=Path, help="draw R2 by round, and the spatial entropy of clusters")
    args = parser.parse_args()
    model, train, val = planted() if args.model == PLANTED else features(args)
    by_seed, fits = [], []
    for seed in range(args.seeds):
        fits.append({name: fit(train, replace(way, seed=seed)) for name, way in ways(len(train)).items()})
        by_seed.append(judge(model, train, val, fits[-1], seed, args.clusters))
        print(f"seed {seed} done", flush=True)
    print_rounds(fits[0])
    table = summarise(by_seed)
    print_table(table)
    if args.json:
        rounds = {name: found.table() for name, found in fits[0].items()}
        args.json.write_text(json.dumps({"table": table, "rounds": rounds, "by_seed": by_seed}, indent=2) + "\n")
    if args.picture:
        draw(val, fits[0]).savefig(args.picture, dpi=110)


def ways(num_images: int) -> dict[str, RasaSettings]:
    """What is compared, by name."""
    return {
        "paper": RasaSettings(batch_images=max(1, num_images // PAPER_STEPS)),
        "optimum": RasaSettings(solver=LBFGS),
        "covariance": RasaSettings(directions=COVARIANCE),
    }


def features(args: argparse.Namespace) -> tuple[FeatureModel, PatchTable, PatchTable]:
    """The model, and patch features of its training and validation images."""
    model, device = FeatureModel(open_backbone(args.model), args.model), resolve_device("auto")
    size = args.image_px[0] if args.image_px and len(args.image_px) == 1 else args.image_px
    settings = FeatureSettings(image_size_px=size, fit="stretch")
    wanted = Wanted(patches=True, masks=True)
    train, val = (
        extract(Job(model, open_source(location, split=split), wanted, settings, device)).patches  # type: ignore[arg-type]
        for location, split in ((args.train, "train"), (args.val, "val"))
    )
    assert train is not None and val is not None, f"{args.model} has no patches"
    return model, train, val


def planted(
    num_images: int = 160, grid: tuple[int, int] = (9, 12), width: int = 64, patch_px: int = 4
) -> tuple[FeatureModel, PatchTable, PatchTable]:
    """Features of a few classes in noise of falling variance, with row and column along two known directions."""
    generator = torch.Generator().manual_seed(0)

    def draw_normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    coarse = torch.randint(6, (num_images, 3, 3), generator=generator)  # an image is nine fields of a class each
    classes = coarse.repeat_interleave(grid[0] // 3, 1).repeat_interleave(grid[1] // 3, 2)
    mix = torch.linalg.qr(draw_normal(width, width)).Q * torch.linspace(1.5, 0.1, width)[:, None]
    noise = (draw_normal(num_images, 1, 1, width) + draw_normal(num_images, *grid, width)) @ mix
    directions = torch.linalg.qr(draw_normal(width, 2)).Q.T
    place = (positions(grid).float() - 0.5).unflatten(0, grid) @ directions
    patches = 0.5 * draw_normal(6, width)[classes] + noise + 8 * place
    masks = classes.repeat_interleave(patch_px, 1).repeat_interleave(patch_px, 2).to(torch.uint8)
    names = tuple(f"class {number}" for number in range(6))
    half = num_images // 2
    train, val = (
        PatchTable.of(patches[part], masks[part], class_names=names) for part in (slice(half), slice(half, None))
    )
    return FeatureModel(nn.Identity(), PLANTED), train, val


def judge(
    model: FeatureModel, train: PatchTable, val: PatchTable, fits: Mapping[str, Fitted], seed: int, clusters: int
) -> dict[str, Metrics]:
    """Every number, for raw features and for each way."""
    device = resolve_device("auto")
    found = {name: {"linear": miou} for name, miou in linear(train, val, fits, seed).items()}
    seen, unseen = (_part(val, slice(first, None, 2)) for first in (0, 1))
    for name, one in fits.items():
        matrix = one.projector.matrix.float()
        whole = Subject.of_patches(model, device, matrix, train=train, val=val)
        halves = Subject.of_patches(model, device, matrix, train=seen, val=unseen)
        told = incontext.run(whole, incontext.IncontextSettings(seeds=[seed])).metrics
        over = overcluster.run(whole, overcluster.OverclusterSettings(seeds=[seed], num_clusters=[clusters])).metrics
        place = position.run(halves, position.PositionSettings(seed=seed, entropy_clusters=ENTROPY_CLUSTERS)).metrics
        for way, suffix in ((RAW, ""), (name, "_rasa")):
            found[way] |= {"incontext": told[f"miou{suffix}"], "overcluster": over[f"miou{suffix}"]}
            found[way] |= {"r2": place[f"r2{suffix}"], "entropy": place[f"spatial_entropy{suffix}"]}
        found[name] |= {"variance removed": one.rounds[-1].variance_removed}
    return found


def linear(train: PatchTable, val: PatchTable, fits: Mapping[str, Fitted], seed: int) -> Metrics:
    """Mean IoU of linear segmentation at the size of the model's input, by one head for each way."""
    assert val.class_names is not None
    kinds = [Variant("", train.width)]
    kinds += [Variant(name, train.width, one.projector.matrix.float()) for name, one in fits.items()]
    steps = LINEAR_EPOCHS * math.ceil(len(train) / LINEAR_BATCH)
    training = Training("adamw", 1e-2, 1e-4, steps, LINEAR_BATCH, pixel_stride=4, seed=seed)
    heads = train_heads(lambda epoch: train, kinds, len(val.class_names), training, torch.device("cpu"))
    found = {}
    for name, head in zip((RAW, *fits), heads, strict=True):
        confusion = torch.zeros(len(val.class_names), len(val.class_names) + 1, dtype=torch.int64)
        for batch in val.batches(16):
            assert batch.masks is not None
            with torch.no_grad():
                logits = interpolate(head(batch.patches), size=batch.masks.shape[1:], mode="bilinear")
            confusion += confusion_matrix(logits.argmax(1), batch.masks, len(val.class_names))
        found[name] = scores(confusion).miou
    return found


def summarise(by_seed: Sequence[Mapping[str, Metrics]]) -> dict[str, dict[str, dict[str, float]]]:
    """By way and metric: the mean over seeds, the mean change from raw features, and its interval."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for way, metrics in by_seed[0].items():
        table[way] = {}
        for metric in metrics:
            values = [one[way][metric] for one in by_seed]
            changes = Repeats.of([one[way][metric] - one[RAW].get(metric, 0.0) for one in by_seed])
            mean = Repeats.of(values).mean
            table[way][metric] = {"mean": mean, "change": changes.mean, "interval95": changes.half_interval}
    return table


def print_rounds(fits: Mapping[str, Fitted]) -> None:
    """R2 after every round, as the fit tells it."""
    for name, found in fits.items():
        print(f"{name:<11} R2 by round: " + " ".join(f"{one.r2:.3f}" for one in found.rounds))


def print_table(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """One line for each way."""
    for way, metrics in table.items():
        cells = [f"{metric} {number['mean']:.4f}" for metric, number in metrics.items()]
        if way != RAW:
            cells = [
                f"{cell} ({metrics[metric]['change']:+.4f} +- {metrics[metric]['interval95']:.4f})"
                for cell, metric in zip(cells, metrics, strict=True)
            ]
        print(f"{way:<11} " + "  ".join(cells))


def draw(val: PatchTable, fits: Mapping[str, Fitted]) -> Figure:
    """R2 by round, and the spatial entropy of every cluster before and after, in order."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, found in fits.items():
        left.plot([one.iteration for one in found.rounds], [one.r2 for one in found.rounds], marker="o", label=name)
    left.set(xlabel="round", ylabel="R2 of position, held-out images", ylim=(-0.02, 1))
    for name, variant in {RAW: Variant("", val.width), **_variants(fits)}.items():
        patches = variant(val.patches.float()).flatten(0, 2)
        clusters = kmeans(patches, ENTROPY_CLUSTERS, seed=0)
        assigned = clusters.assign(patches).view(len(val), -1)
        bits = spatial_entropy(assigned, ENTROPY_CLUSTERS).per_cluster.sort().values
        right.plot(bits, label=name, color="black" if name == RAW else None, linestyle=":" if name == RAW else "-")
    right.set(xlabel="clusters, in order", ylabel="spatial entropy, bits")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    return figure


def _variants(fits: Mapping[str, Fitted]) -> dict[str, Variant]:
    return {name: Variant(name, one.projector.width, one.projector.matrix.float()) for name, one in fits.items()}


def _part(table: PatchTable, images: slice) -> PatchTable:
    masks = None if table.masks is None else table.masks[images]
    return PatchTable(table.patches[images], masks, table.keys[images], table.class_names)


if __name__ == "__main__":
    main()
