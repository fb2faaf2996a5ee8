"""Overclustering: k-means over the patches of the validation images, and how well clusters are classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from typing import TypeAlias

import torch
from torch import Tensor

from franca.config.schema import option
from franca.distributed.together import share_of
from franca.errors import DataError
from franca.evaluation.choices import check_some
from franca.evaluation.dense.confusion import SegmentationScores, scores
from franca.evaluation.dense.exact import exact_device
from franca.evaluation.dense.kmeans import Clusters, kmeans
from franca.evaluation.dense.matching import confusion_of, many_to_one, one_to_one
from franca.evaluation.dense.repeats import Repeats
from franca.evaluation.dense.sampling import (
    BATCH_IMAGES,
    budget_of,
    check_labelled,
    draw_patches,
    mask_classes,
    masks_of,
)
from franca.evaluation.dense.stages import Stages
from franca.evaluation.dense.summary import OCCURRING, iou_by_class
from franca.evaluation.dense.variants import Variant, is_prefix, variants, with_full_width
from franca.evaluation.dense.votes import patch_votes, shrink
from franca.evaluation.known import Known
from franca.evaluation.report import Result
from franca.evaluation.spread import spread
from franca.evaluation.subject import Subject
from franca.features.patches import PatchTable
from franca.features.table import Wanted

MATCHINGS = {"": many_to_one, "_hungarian": one_to_one}
Trial: TypeAlias = tuple[Variant, int, int]  # what is clustered, number of clusters, seed
Found: TypeAlias = dict[str, SegmentationScores]  # by matching


@dataclass(frozen=True, kw_only=True)
class OverclusterSettings:
    """How patches are clustered and compared with masks."""

    num_clusters: list[int] = option([100, 300], low=2)
    """Clusters; the first is the headline, others are reported as ``miou_k300``."""
    seeds: list[int] = option([0, 1, 2, 3, 4], low=0)
    """One clustering each; the mean is reported."""
    restarts: int = option(1, low=1)
    """Runs of k-means, of which the tightest is kept."""
    max_iterations: int = option(50, low=1)
    """Of a run of k-means."""
    patches_per_cluster: int = option(256, low=1)
    """Centres are found on so many patches for each cluster, the same number from each image, drawn by the seed; all
    patches are then assigned."""
    memory_mib: float = option(2048.0, low=0.01)
    """Most that the drawn patches may take up."""
    mask_px: int | None = option(100, low=1)
    """Masks are compared at this height and width; None takes the size of the model's input."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``miou_d24``."""


def wanted(settings: OverclusterSettings) -> Wanted:
    """The features this protocol reads: patch embeddings of the last block."""
    return Wanted(patches=True, masks=True)


def check_before(settings: OverclusterSettings, known: Known) -> None:
    """Raises a ConfigError where nothing would be clustered; to be asked before features are computed."""
    check_some(num_clusters=settings.num_clusters, seeds=settings.seeds)


def run(subject: Subject, settings: OverclusterSettings) -> Result:
    """Mean IoU of clusters of validation patches, each taken for a class by the masks themselves.

    ``miou`` takes every cluster for the class that most of its pixels have; ``miou_hungarian`` gives each class one
    cluster at most.

    Raises:
        DataError: The images have no masks, no labelled pixel, or fewer patches than clusters.

    Source:
        Ziegler and Asano, Leopart (2022). They match clusters to classes greedily by precision, which is
        many-to-one, and then name the groups by the Hungarian method.
    """
    val = subject.patches("val")
    names = mask_classes(val)
    check_labelled("val", val)
    kinds = variants(val.width, subject.projector, prefixes=settings.prefixes)
    trials: list[Trial] = list(product(kinds, settings.num_clusters, settings.seeds))
    device = exact_device(subject.device)
    stages = Stages(subject.progress, "clusters", len(share_of(trials)), settings.restarts * settings.max_iterations)

    def judge(trial: Trial) -> Found:
        clusters = _cluster(val, trial, settings, device, stages.step)
        stages.end_piece()
        overlap = _overlap(val, clusters, trial[0], len(names), settings.mask_px)
        return {name: scores(confusion_of(overlap, match(overlap))) for name, match in MATCHINGS.items()}

    scored = spread(trials, judge)
    found = {_key(trial): by_matching for trial, by_matching in zip(trials, scored, strict=True)}

    metrics: dict[str, float] = {}
    numbers: dict[str, float] = {}
    for number, matching, kind in product(settings.num_clusters, MATCHINGS, kinds):
        name = f"miou{matching}" + ("" if number == settings.num_clusters[0] else f"_k{number}") + kind.suffix
        repeated = Repeats.of([found[_key((kind, number, seed))][matching].miou for seed in settings.seeds])
        metrics[name] = repeated.mean
        numbers |= {} if is_prefix(name) else repeated.numbers(name)
    if settings.prefixes:
        metrics = with_full_width(metrics, val.width)
    headline = [found[_key((kinds[0], settings.num_clusters[0], seed))][""] for seed in settings.seeds]
    return Result("overcluster", metrics, asdict(settings), (OCCURRING,), numbers, iou_by_class(headline, names))


def _key(trial: Trial) -> tuple[str, int, int]:
    variant, number, seed = trial
    return variant.suffix, number, seed


def _cluster(
    table: PatchTable, trial: Trial, settings: OverclusterSettings, device: torch.device, step: Callable[[], None]
) -> Clusters:
    variant, number, seed = trial
    budget = min(number * settings.patches_per_cluster, budget_of(settings.memory_mib, 2 * table.width))
    sample = variant(draw_patches(table, budget, seed=seed).patches.to(device))
    if len(sample) < number:
        raise DataError(
            f"num_clusters={number}: only {len(sample)} patches are drawn from val=; lower num_clusters, or raise "
            "patches_per_cluster or memory_mib"
        )
    return kmeans(
        sample, number, seed=seed, restarts=settings.restarts, max_iterations=settings.max_iterations, step=step
    )


def _overlap(table: PatchTable, clusters: Clusters, variant: Variant, num_classes: int, mask_px: int | None) -> Tensor:
    """Pixels of each cluster by class, [K, C] int64."""
    overlap = torch.zeros(len(clusters.centres), num_classes, dtype=torch.int64)
    for batch in table.batches(BATCH_IMAGES):
        assigned = clusters.assign(variant(batch.patches.to(clusters.centres.device)).flatten(0, 2)).cpu()
        counts = patch_votes(shrink(masks_of(batch), mask_px), table.grid, num_classes)  # [B, h, w, C]
        overlap.index_add_(0, assigned, counts.flatten(0, 2))
    return overlap
