"""Linear classification on frozen features: a grid of probes, chosen without looking at the validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from franca.config.schema import option
from franca.errors import DataError
from franca.evaluation.labels import common_labels
from franca.evaluation.metrics import hits, prefix_widths, top_counts
from franca.evaluation.probes import Group, Probes, Standardiser, accuracy_and_loss, train_probes
from franca.evaluation.report import Result
from franca.features.table import FeatureTable, Wanted

LEARNING_RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]


@dataclass(frozen=True, kw_only=True)
class LinearSettings:
    """The grid of probes and how they are trained."""

    learning_rates: list[float] = option(LEARNING_RATES, low=0)
    """Learning rates that are tried, for every choice of features."""
    num_blocks: list[int] = option([1, 4], low=1)
    """Class embeddings of so many last blocks are tried; a shorter model gives all it has."""
    patch_mean: list[bool] = option([False, True])
    """Without, with the mean patch embedding beside them: both are tried."""
    epochs: int = option(50, low=1)
    """Passes over the training images."""
    probe_batch_size: int = option(256, low=1)
    """Images per step of SGD (momentum 0.9, no weight decay, cosine to zero)."""
    held_out_fraction: float = option(0.1, low=0.001, high=0.9)
    """Share of the training images, of every class alike, on which the winner is chosen."""
    seed: int = option(0, low=0)
    """Fixes which images are held out and the order of the batches."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/16 dimensions) of the last class embedding, as
    ``top1_d24``; each is chosen from the learning rates by itself."""


def wanted(settings: LinearSettings) -> Wanted:
    """The features this protocol reads: class embeddings of the last blocks, and the mean patch."""
    return Wanted(layers=max(settings.num_blocks), patch_mean=any(settings.patch_mean))


@dataclass(frozen=True)
class Winner:
    """The probe of a contest that did best on the held-out images."""

    group: Group  # with the winning learning rate alone
    held_out_top1: float
    at_edge: bool  # the learning rate is the smallest or the largest of several


def run(train: FeatureTable, val: FeatureTable, settings: LinearSettings, device: torch.device | str = "cpu") -> Result:
    """Accuracy on ``val`` of the probe that did best on held-out training images, refitted on all of ``train``.

    Raises:
        DataError: There are too few training images to hold some out, or the tables do not go together.
    """
    labels = common_labels(train, val)
    contests = {"top1": grid(train, settings)}
    if settings.prefixes:
        contests |= prefix_grids(train, settings)
    features = joint_features(train).to(device)  # [n, F]
    train_labels, val_labels = labels.train.to(device), labels.val.to(device)
    winners = choose(contests, features, train_labels, labels.num_classes, settings)

    standardise = Standardiser.of(features)
    probes = _train(
        standardise(features), train_labels, [w.group for w in winners.values()], labels.num_classes, settings
    )
    val_features = standardise(joint_features(val).to(device))
    metrics: dict[str, float] = {}
    for metric, probe in zip(winners, probes, strict=True):
        scores = probe.logits(val_features)[:, 0]  # [m, C]
        counts = top_counts(labels.num_classes) if metric == "top1" else (1,)
        metrics |= {metric.replace("top1", f"top{at}"): hits(scores, val_labels, at=at) / len(val) for at in counts}
    return Result(
        "linear",
        metrics,
        asdict(settings) | {"winners": {metric: _describe(winner) for metric, winner in winners.items()}},
        tuple(_notes(train, settings, winners)),
    )


def joint_features(table: FeatureTable) -> Tensor:
    """[n, (L + 1) * D]: class embeddings of the last blocks side by side, last one last, then the mean patch.

    In this order every choice of features is a range of columns.
    """
    parts = [table.cls.flatten(1)] + ([] if table.patch_mean is None else [table.patch_mean])
    return torch.cat(parts, dim=1)


def grid(table: FeatureTable, settings: LinearSettings) -> list[Group]:
    """Every choice of features, each with every learning rate."""
    num_layers, width = table.cls.shape[1:]
    groups = []
    for blocks in sorted({min(blocks, num_layers) for blocks in settings.num_blocks}):
        for patch_mean in sorted({use and table.patch_mean is not None for use in settings.patch_mean}):
            columns = slice((num_layers - blocks) * width, (num_layers + patch_mean) * width)
            name = f"last_{blocks}" + "+patch_mean" * patch_mean
            groups.append(Group(name, columns, tuple(settings.learning_rates)))
    return groups


def prefix_grids(table: FeatureTable, settings: LinearSettings) -> dict[str, list[Group]]:
    """For the metric of each Matryoshka prefix: that prefix of the last class embedding, with every learning rate."""
    num_layers, width = table.cls.shape[1:]
    start = (num_layers - 1) * width
    return {
        f"top1_d{prefix}": [Group("last_1", slice(start, start + prefix), tuple(settings.learning_rates))]
        for prefix in prefix_widths(width)
    }


def choose(
    contests: Mapping[str, Sequence[Group]],
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    settings: LinearSettings,
) -> dict[str, Winner]:
    """The best probe of every contest, trained on one part of ``features`` [n, F] and judged on the held-out rest."""
    held_out = held_out_rows(labels, settings.held_out_fraction, settings.seed)
    standardise = Standardiser.of(features[~held_out])
    groups = [group for contest in contests.values() for group in contest]
    trained = iter(_train(standardise(features[~held_out]), labels[~held_out], groups, num_classes, settings))
    judged = standardise(features[held_out]), labels[held_out]
    return {metric: _best([next(trained) for _ in contest], *judged) for metric, contest in contests.items()}


def held_out_rows(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """[n] bool: ``fraction`` of the images of every class, at least one where a class has two or more.

    Raises:
        DataError: no class has two images.
    """
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        rows = (labels.cpu() == label).nonzero()[:, 0]
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        held_out[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    if not held_out.any():
        raise DataError("train= has one image per class; the linear probe holds some out to choose a learning rate")
    return held_out.to(labels.device)


def _train(
    features: Tensor, labels: Tensor, groups: Sequence[Group], num_classes: int, settings: LinearSettings
) -> list[Probes]:
    return train_probes(
        features,
        labels,
        groups,
        num_classes=num_classes,
        epochs=settings.epochs,
        batch_size=settings.probe_batch_size,
        seed=settings.seed,
    )


def _best(contestants: Sequence[Probes], features: Tensor, labels: Tensor) -> Winner:
    """The highest accuracy wins, the lowest loss among equals."""
    results = []
    for probes in contestants:
        rates = probes.group.learning_rates
        accuracies, losses = accuracy_and_loss(probes, features, labels)  # [R] each
        for rate, accuracy, loss in zip(rates, accuracies.tolist(), losses.tolist(), strict=True):
            at_edge = len(rates) > 1 and rate in (min(rates), max(rates))
            results.append((accuracy, -loss, replace(probes.group, learning_rates=(rate,)), at_edge))
    accuracy, _, group, at_edge = max(results, key=lambda result: result[:2])
    return Winner(group, accuracy, at_edge)


def _describe(winner: Winner) -> dict[str, str | float]:
    return {
        "features": winner.group.name,
        "learning_rate": winner.group.learning_rates[0],
        "held_out_top1": winner.held_out_top1,
    }


def _notes(train: FeatureTable, settings: LinearSettings, winners: Mapping[str, Winner]) -> list[str]:
    notes = []
    if train.cls.shape[1] < max(settings.num_blocks):
        notes.append(f"the model offers {train.cls.shape[1]} block(s): as many were taken for num_blocks above that")
    if any(settings.patch_mean) and train.patch_mean is None:
        notes.append("the model offers no patch embeddings: the choices with their mean were left out")
    if winners["top1"].at_edge:
        rate = winners["top1"].group.learning_rates[0]
        notes.append(f"the best learning rate, {rate:g}, is at the edge of the grid: a wider one may do better")
    return notes
