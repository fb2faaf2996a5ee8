"""How much of a patch's place in the image its features tell: by a linear map, and by clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from franca.config.schema import option
from franca.distributed.reduce import sum_over_ranks
from franca.distributed.together import raising_together, share_of
from franca.errors import DataError
from franca.evaluation.dense.entropy import SpatialEntropy, shuffled, spatial_entropy
from franca.evaluation.dense.exact import exact_device
from franca.evaluation.dense.kmeans import kmeans
from franca.evaluation.dense.ridge import Regression, RidgeSums
from franca.evaluation.dense.sampling import BATCH_IMAGES, batches_of_this_rank, budget_of, draw_patches
from franca.evaluation.dense.stages import Stages
from franca.evaluation.dense.variants import Variant, is_prefix, variants, with_full_width
from franca.evaluation.report import Result
from franca.evaluation.spread import spread
from franca.evaluation.subject import Subject
from franca.features.patches import PatchTable
from franca.features.table import Wanted
from franca.rasa.targets import positions


@dataclass(frozen=True, kw_only=True)
class PositionSettings:
    """How position is read from features."""

    alpha: float = option(1.0, low=1e-9)
    """Penalty of ridge regression, beside the sum of squared errors over all training patches."""
    entropy_clusters: int = option(100, low=2)
    """Clusters whose spatial entropy is reported."""
    patches_per_cluster: int = option(256, low=1)
    """Centres are found on so many patches for each cluster, the same number from each image."""
    max_iterations: int = option(50, low=1)
    """Of k-means."""
    memory_mib: float = option(2048.0, low=0.01)
    """Most that the drawn patches may take up."""
    seed: int = option(0, low=0)
    """Of the clusters."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``r2_d24``."""


def wanted(settings: PositionSettings) -> Wanted:
    """The features this protocol reads: patch embeddings of the last block."""
    return Wanted(patches=True)


def run(subject: Subject, settings: PositionSettings) -> Result:
    """R2 and error of row and column on held-out images, and the spatial entropy of clusters; no masks are needed.

    Rows and columns are scaled to [0, 1]. ``r2`` is the mean over both, on the patches of ``val``; below 0 means worse
    than always saying the middle.

    Raises:
        DataError: Fewer patches than clusters, or images of one patch.
    """
    train, val = subject.patches("train"), subject.patches("val")
    if min(train.grid) < 2:
        raise DataError(
            f"images of {train.grid[0]} x {train.grid[1]} patches have no position to tell; use larger ones"
        )
    kinds = variants(train.width, subject.projector, prefixes=settings.prefixes)
    device = exact_device(subject.device)
    regressions = fit_position(train, kinds, settings.alpha, device)
    errors = position_errors(val, kinds, regressions, device)
    metrics = {f"r2{kind.suffix}": error.r2 for kind, error in zip(kinds, errors, strict=True)}
    numbers: dict[str, float] = {}
    wide = [(kind, error) for kind, error in zip(kinds, errors, strict=True) if not is_prefix(kind.suffix)]
    stages = Stages(subject.progress, "clusters", len(share_of(wide)), settings.max_iterations)
    entropies = spread(wide, lambda pair: _entropies(train, pair[0], settings, device, stages))
    for (kind, error), (found, null) in zip(wide, entropies, strict=True):
        metrics |= {
            f"error{kind.suffix}": float(error.absolute.mean()),
            f"spatial_entropy{kind.suffix}": found.share,
            f"spatial_entropy_shuffled{kind.suffix}": null.share,
        }
        numbers |= {
            f"error_rows_patches{kind.suffix}": float(error.absolute[0]) * (val.grid[0] - 1),
            f"error_columns_patches{kind.suffix}": float(error.absolute[1]) * (val.grid[1] - 1),
            f"spatial_entropy_bits{kind.suffix}": found.bits,
        }
    if settings.prefixes:
        metrics = with_full_width(metrics, train.width)
    notes = (
        "error is the mean absolute error of row and column as a fraction of the image's side; spatial entropy is a "
        "share of log2(patches of an image), and shuffled is what it would be if clusters knew no place",
    )
    return Result("position", metrics, asdict(settings), notes, numbers)


def fit_position(
    table: PatchTable, kinds: Sequence[Variant], alpha: float, device: torch.device | str
) -> list[Regression]:
    """Ridge regression from patch features to their place, one for each variant, in one pass."""
    sums = RidgeSums(table.width, 2, device)
    place = positions(table.grid).to(device)
    for batch in table.batches(BATCH_IMAGES):
        sums.add(batch.patches.to(device).flatten(0, 2), place.repeat(len(batch.patches), 1))
    return [sums.solve(kind.matrix(table.width).to(device), alpha) for kind in kinds]


@dataclass(frozen=True)
class PositionError:
    """How far predicted places are from true ones."""

    r2: float  # mean of row and column
    absolute: Tensor  # [2] float64: mean absolute error of row and column, as a fraction of the side


def position_errors(
    table: PatchTable, kinds: Sequence[Variant], regressions: Sequence[Regression], device: torch.device | str
) -> list[PositionError]:
    """Errors of each regression on all patches of a table."""
    place = positions(table.grid).to(device)
    sums = torch.zeros(len(kinds), 2, 2, dtype=torch.float64)  # variant, absolute or squared, row or column
    with raising_together():
        for batch in batches_of_this_rank(table):
            patches = batch.patches.to(device).double().flatten(1, 2)  # [B, N, D]
            for kind, regression, into in zip(kinds, regressions, sums, strict=True):
                error = regression(kind(patches)) - place
                into += torch.stack([error.abs().sum((0, 1)), error.square().sum((0, 1))]).cpu()
    means = sum_over_ranks(sums) / (len(table) * len(place))
    variance = place.var(0, correction=0).cpu()
    return [PositionError(float((1 - squared / variance).mean()), absolute) for absolute, squared in means]


def _entropies(
    table: PatchTable, kind: Variant, settings: PositionSettings, device: torch.device, stages: Stages
) -> tuple[SpatialEntropy, SpatialEntropy]:
    """Spatial entropy of clusters, and the same after shuffling."""
    wished = settings.entropy_clusters * settings.patches_per_cluster
    budget = min(wished, budget_of(settings.memory_mib, 2 * table.width))
    sample = kind(draw_patches(table, budget, seed=settings.seed).patches.to(device))
    if len(sample) < settings.entropy_clusters:
        raise DataError(
            f"entropy_clusters={settings.entropy_clusters}: only {len(sample)} patches are drawn from train=; lower "
            "entropy_clusters, or raise patches_per_cluster or memory_mib"
        )
    clusters = kmeans(
        sample,
        settings.entropy_clusters,
        seed=settings.seed,
        max_iterations=settings.max_iterations,
        step=stages.step,
    )
    stages.end_piece()
    batches = (kind(batch.patches.to(device)).flatten(0, 2) for batch in table.batches(BATCH_IMAGES))
    assigned = torch.cat([clusters.assign(patches).cpu() for patches in batches]).view(len(table), -1)
    return (
        spatial_entropy(assigned, settings.entropy_clusters),
        spatial_entropy(shuffled(assigned, settings.seed), settings.entropy_clusters),
    )
