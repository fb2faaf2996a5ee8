"""k-nearest-neighbour classification on frozen class embeddings: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from franca.config.schema import option
from franca.errors import DataError
from franca.evaluation.labels import Labels, common_labels
from franca.evaluation.metrics import hits, prefix_widths, top_counts
from franca.evaluation.report import Result
from franca.features.table import CLASS_EMBEDDING, FeatureTable, Wanted

MAX_SIMILARITIES = 1 << 26  # held at once: 256 MiB in fp32


@dataclass(frozen=True, kw_only=True)
class KnnSettings:
    """How neighbours vote."""

    k: int = option(20, low=1)
    """Neighbours of the headline, ``top1``."""
    other_k: list[int] = option([10, 100, 200], low=1)
    """Further numbers of neighbours, reported as ``top1_k10`` and so on."""
    temperature: float = option(0.07, low=1e-4)
    """A neighbour votes with the weight exp(cosine similarity / temperature)."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/16 dimensions), as ``top1_d24``."""


def wanted(settings: KnnSettings) -> Wanted:
    """The features this protocol reads: class embeddings of the last block."""
    return CLASS_EMBEDDING


def run(train: FeatureTable, val: FeatureTable, settings: KnnSettings, device: torch.device | str = "cpu") -> Result:
    """Accuracy on ``val`` when each image takes the class that its nearest neighbours in ``train`` vote for.

    Raises:
        DataError: ``train`` has fewer images than the headline's k, or the tables do not go together.
    """
    labels = common_labels(train, val)
    if settings.k > len(train):
        raise DataError(f"k={settings.k} neighbours are asked for, train= has {len(train)} images; lower k")
    smaller = [k for k in settings.other_k if k <= len(train) and k != settings.k]
    memory, queries = train.embedding.to(device), val.embedding.to(device)  # [n, D], [m, D]
    found = accuracies(memory, queries, labels, [settings.k, *smaller], settings.temperature)

    metrics = {f"top{at}": found[settings.k, at] for at in top_counts(labels.num_classes)}
    metrics |= {f"top1_k{k}": found[k, 1] for k in smaller}
    if settings.prefixes:
        metrics[f"top1_d{train.width}"] = metrics["top1"]
        for width in prefix_widths(train.width)[1:]:
            narrow = accuracies(memory[:, :width], queries[:, :width], labels, [settings.k], settings.temperature)
            metrics[f"top1_d{width}"] = narrow[settings.k, 1]
    left_out = [k for k in settings.other_k if k > len(train)]
    notes = (f"k = {', '.join(map(str, left_out))} left out: train= has {len(train)} images",) if left_out else ()
    return Result("knn", metrics, asdict(settings), notes)


def accuracies(
    train: Tensor, val: Tensor, labels: Labels, all_k: Sequence[int], temperature: float
) -> dict[tuple[int, int], float]:
    """Top-n accuracy for every (k, n).

    Args:
        train: [n, D], the memory that neighbours are looked for in.
        val: [m, D].
        all_k: Numbers of neighbours, each at most n.
        temperature: Of the votes, above 0.
    """
    counts = top_counts(labels.num_classes)
    right = {(k, at): 0 for k in all_k for at in counts}
    train_labels = labels.train.to(train.device)
    memory = normalize(train)  # [n, D]
    centre = memory.mean(0)
    memory -= centre
    # Cosine similarity up to a number per query, which changes no vote: for unit vectors it is 1 - |a - b|^2 / 2, and
    # distances may be taken from any centre. Near it, embeddings that are almost parallel still differ in fp32.
    offset = memory.square().sum(1) / -2  # [n]
    for rows in _chunks(len(val), len(train)):
        similarities = torch.addmm(offset, normalize(val[rows]) - centre, memory.T)  # [B, n]
        similarity, neighbours = similarities.topk(max(all_k), dim=1)  # [B, k] twice, best first
        neighbour_labels, val_labels = train_labels[neighbours], labels.val[rows].to(train.device)
        for k in all_k:
            votes = vote(similarity[:, :k], neighbour_labels[:, :k], labels.num_classes, temperature)
            for at in counts:
                right[k, at] += hits(votes, val_labels, at=at)
    return {key: count / len(val) for key, count in right.items()}


def vote(similarity: Tensor, neighbour_labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Sum of exp(similarity / temperature) over the neighbours of each class, up to a factor per image.

    Args:
        similarity: [B, k], cosine up to a number per image, best first.
        neighbour_labels: [B, k], int64 in [0, num_classes).

    Returns:
        [B, C]; classes without a neighbour have ``-inf``.
    """
    # Dividing by the vote of the nearest one changes no ranking, and no temperature makes it overflow.
    weights = ((similarity - similarity[:, :1]) / temperature).exp()
    votes = weights.new_zeros(len(weights), num_classes).scatter_add_(1, neighbour_labels, weights)
    return votes.masked_fill_(votes == 0, -torch.inf)


def _chunks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Rows to take at a time, so that a block of rows x columns stays within bounds."""
    size = max(1, MAX_SIMILARITIES // num_columns)
    for start in range(0, num_rows, size):
        yield slice(start, start + size)
