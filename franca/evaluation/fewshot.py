"""Classification from a few labelled images a class: logistic regression on frozen class embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import normalize

from franca.config.schema import option
from franca.errors import DataError
from franca.evaluation.choices import check_some
from franca.evaluation.dense.repeats import CONFIDENCE, Repeats
from franca.evaluation.known import ClassCounts, Known, count_classes
from franca.evaluation.labels import common_labels
from franca.evaluation.logistic import fit
from franca.evaluation.metrics import hits
from franca.evaluation.prefixes import View, views
from franca.evaluation.report import Result
from franca.evaluation.spread import spread
from franca.features.table import CLASS_EMBEDDING, FeatureTable, Wanted


@dataclass(frozen=True, kw_only=True)
class FewshotSettings:
    """How few images, which of them, and what is trained on them."""

    shots: list[int] = option([1, 2, 5, 10], low=1)
    """Training images of each class; the first number is the headline."""
    seeds: list[int] = option([0, 1, 2, 3, 4], low=0)
    """Which images are drawn, once for each; the images of a smaller number are among those of a larger one."""
    c: float = option(1.0, low=1e-9)
    """Inverse strength of the L2 penalty, on embeddings of length 1: too few images are left to choose it."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``top1_1shot_d24``, and PCA to as many
    dimensions, as ``top1_1shot_d24_pca``; PCA sees all training images, without their labels."""


def wanted(settings: FewshotSettings) -> Wanted:
    """The features this protocol reads: class embeddings of the last block."""
    return CLASS_EMBEDDING


def check_before(settings: FewshotSettings, known: Known) -> None:
    """To be asked before features are computed.

    Raises:
        ConfigError: Nothing would be drawn.
        DataError: A class has fewer images than the smallest of ``shots``.
    """
    check_some(shots=settings.shots, seeds=settings.seeds)
    if known.class_counts.get("train"):
        possible_shots(known.class_counts["train"], settings.shots)


def run(
    train: FeatureTable, val: FeatureTable, settings: FewshotSettings, device: torch.device | str = "cpu"
) -> Result:
    """Mean accuracy on ``val``, and its standard deviation over the draws, of classifiers trained on a few images.

    Every rank takes its share of the draws; all return the same.

    Raises:
        DataError: A class has fewer images than the smallest of ``shots``, or the tables do not go together.

    Source: Tian et al., Rethinking few-shot image classification (2020): logistic regression on embeddings of length 1
        with C = 1. Assran et al., Masked Siamese Networks (2022), do the same with C = 4000.
    """
    labels = common_labels(train, val)
    shots, notes = possible_shots(count_classes(labels.train, train.class_names or ()), settings.shots)
    kinds: dict[str, View | None] = {"": None}
    if settings.prefixes:
        kinds |= {view.metric(""): view for view in views(train.embedding, device)}
    queries, truth = val.embedding.to(device).float(), labels.val.to(device)

    def accuracies(draw: tuple[int, int]) -> dict[str, float]:
        """Accuracy of every kind for one draw of so many images."""
        rows = draw_rows(labels.train, *draw)
        images, classes = train.embedding[rows].to(device).float(), labels.train[rows].to(device)
        found = {}
        for kind, view in kinds.items():
            seen, asked = (normalize(part if view is None else view(part)) for part in (images, queries))
            classifier = fit(seen, classes, [settings.c], num_classes=labels.num_classes)
            found[kind] = hits(classifier.logits(asked)[0], truth) / len(truth)
        return found

    draws = list(product(shots, settings.seeds))
    found = dict(zip(draws, spread(draws, accuracies), strict=True))
    metrics: dict[str, float] = {}
    for number in shots:
        of_kind = {kind: [found[number, seed][kind] for seed in settings.seeds] for kind in kinds}
        notes += _summarise(f"top1_{number}shot", of_kind, metrics)
    return Result("fewshot", metrics, asdict(settings), tuple(notes))


def possible_shots(counts: ClassCounts, shots: Sequence[int]) -> tuple[list[int], list[str]]:
    """Those numbers of images that every class has, and a note on those that are left out.

    Args:
        counts: Of the training images; a class without any cannot be learnt by any protocol, and is not asked for.

    Raises:
        DataError: No number is left.
    """
    smallest, fewest = min(counts.items(), key=lambda item: item[1])
    possible = [number for number in shots if number <= fewest]
    if not possible:
        raise DataError(f"shots={list(shots)}: class {smallest} of train= has {fewest} images; lower shots to that")
    left_out = [number for number in shots if number > fewest]
    text = f"{', '.join(map(str, left_out))} shots left out: class {smallest} of train= has {fewest} images"
    return possible, [text] if left_out else []


def draw_rows(labels: Tensor, number: int, seed: int) -> Tensor:
    """Rows of ``number`` images of every class; those of a smaller number are among them."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = order[labels[order].argsort(stable=True)]  # one sort, where a look at all labels for each class is slow
    rows: Tensor = torch.cat(
        [images[:number] for images in by_class.split(labels.unique(return_counts=True)[1].tolist())]
    )
    return rows


def _summarise(name: str, of_kind: Mapping[str, Sequence[float]], metrics: dict[str, float]) -> list[str]:
    """Puts mean and standard deviation of one number of images into ``metrics``; says how sure the mean is."""
    repeated = {kind: Repeats.of(values) for kind, values in of_kind.items()}
    whole = repeated[""]
    several = len(whole.values) > 1
    metrics[name] = whole.mean
    if several:
        metrics[f"{name}_std"] = whole.std
    metrics |= {f"{name}{kind}": values.mean for kind, values in repeated.items() if kind}
    text = (
        f"{name}: {100 * whole.mean:.2f} ± {100 * whole.half_interval:.2f}, the {CONFIDENCE:.0%} interval of the mean "
        f"over {len(whole.values)} draws of training images"
    )
    return [text] if several else []
