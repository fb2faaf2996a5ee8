"""Logistic regression on frozen class embeddings, with the strength of its penalty chosen on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from franca.config.schema import option
from franca.distributed.together import gather, share_of
from franca.errors import ConfigError
from franca.evaluation.held_out import check_can_hold_out, held_out_rows
from franca.evaluation.known import Known
from franca.evaluation.labels import Labels, common_labels
from franca.evaluation.logistic import Fitted, fit
from franca.evaluation.metrics import hits, top_counts
from franca.evaluation.prefixes import View, views
from franca.evaluation.report import Result
from franca.features.table import CLASS_EMBEDDING, FeatureTable, Wanted


@dataclass(frozen=True, kw_only=True)
class LogregSettings:
    """Which penalties are tried and how they are judged."""

    powers_of_c: list[float] = option([-6.0, 5.0], low=-12, high=12)
    """Lowest and highest power of ten of C, the inverse strength of the penalty."""
    num_c: int = option(45, low=1)
    """Values of C, evenly spread over these powers."""
    max_iterations: int = option(1000, low=1)
    """Of L-BFGS, for each C; most need far less."""
    held_out_fraction: float = option(0.1, low=0.001, high=0.9)
    """Share of the training images, of every class alike, on which C is chosen."""
    seed: int = option(0, low=0)
    """Which images are held out."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``top1_d24``, and PCA to as many
    dimensions, as ``top1_d24_pca``; each chooses its own C."""


@dataclass(frozen=True)
class Winner:
    """The classifier of the best C, refitted on all training images."""

    fitted: Fitted
    held_out_top1: float
    num_stopped: int  # of the fits, those that max_iterations ended

    @property
    def c(self) -> float:
        """Inverse strength of the penalty."""
        return self.fitted.all_c[0]


def wanted(settings: LogregSettings) -> Wanted:
    """The features this protocol reads: class embeddings of the last block."""
    return CLASS_EMBEDDING


def check_before(settings: LogregSettings, known: Known) -> None:
    """To be asked before features are computed.

    Raises:
        ConfigError: The powers are no range.
        DataError: There are too few training images to hold some out.
    """
    powers = settings.powers_of_c
    if len(powers) != 2 or powers[0] > powers[1]:
        raise ConfigError(f"powers_of_c={powers}: expected two powers of ten, the lower one first, as in [-6.0,5.0]")
    if "train" in known.class_counts:
        check_can_hold_out(max(known.class_counts["train"].values(), default=0))


def run(train: FeatureTable, val: FeatureTable, settings: LogregSettings, device: torch.device | str = "cpu") -> Result:
    """Accuracy on ``val`` of the classifier whose C did best on held-out training images, refitted on all of ``train``.

    Every rank fits its share of the values of C; all return the same.

    Raises:
        DataError: There are too few training images to hold some out, or the tables do not go together.
    """
    labels = common_labels(train, val)
    features, queries = train.embedding.to(device).float(), val.embedding.to(device).float()  # [n, D], [m, D]
    truth = labels.val.to(device)
    winners = {"top1": _winner(features, labels, settings)}
    scores = winners["top1"].fitted.logits(queries)[0]  # [m, K]
    metrics = {f"top{at}": hits(scores, truth, at=at) / len(val) for at in top_counts(labels.num_classes)}
    for view in views(train.embedding, device) if settings.prefixes else []:
        metric = view.metric("top1")
        if view == View(train.width):
            metrics[metric] = metrics["top1"]
            continue
        winners[metric] = _winner(view(features), labels, settings)
        metrics[metric] = hits(winners[metric].fitted.logits(view(queries))[0], truth) / len(val)
    chosen = {metric: {"c": winner.c, "held_out_top1": winner.held_out_top1} for metric, winner in winners.items()}
    return Result("logreg", metrics, asdict(settings) | {"winners": chosen}, tuple(_notes(winners, settings)))


def values_of_c(settings: LogregSettings) -> list[float]:
    """All values of C that are tried, rising."""
    low, high = settings.powers_of_c
    return [float(c) for c in 10 ** torch.linspace(low, high, settings.num_c, dtype=torch.float64)]


def _winner(features: Tensor, labels: Labels, settings: LogregSettings) -> Winner:
    """The best C for some columns [n, F] of the training images."""
    classes = labels.train.to(features.device)
    held_out = held_out_rows(labels.train, settings.held_out_fraction, settings.seed).to(features.device)
    mine = share_of(values_of_c(settings))
    fitted = None
    found: list[tuple[float, float, float]] = []  # held-out accuracy, minus its loss, C
    if mine:
        fitted = _fit(features[~held_out], classes[~held_out], mine, labels.num_classes, settings)
        found = _judge(fitted, features[held_out], classes[held_out])
    top1, _, c = max(result for share in gather(found) for result in share)
    num_stopped = sum(gather(0 if fitted is None else int((~fitted.converged).sum())))
    return Winner(_fit(features, classes, [c], labels.num_classes, settings), top1, num_stopped)


def _fit(
    features: Tensor, labels: Tensor, all_c: Sequence[float], num_classes: int, settings: LogregSettings
) -> Fitted:
    return fit(features, labels, all_c, num_classes=num_classes, max_iterations=settings.max_iterations)


def _judge(fitted: Fitted, features: Tensor, labels: Tensor) -> list[tuple[float, float, float]]:
    """Accuracy, minus the mean loss, and C of every classifier; the larger, the better."""
    found = []
    for index, c in enumerate(fitted.all_c):
        scores = features @ fitted.weight[index] + fitted.bias[index]  # [B, K]
        found.append((hits(scores, labels) / len(labels), -float(cross_entropy(scores, labels)), c))
    return found


def _notes(winners: dict[str, Winner], settings: LogregSettings) -> list[str]:
    notes = []
    c, all_c = winners["top1"].c, values_of_c(settings)
    if len(all_c) > 1 and c in (all_c[0], all_c[-1]):
        notes.append(f"the best C, {c:.3g}, is at the edge of the grid: a wider one may do better")
    stopped = sum(winner.num_stopped for winner in winners.values())
    if stopped:
        notes.append(
            f"{stopped} of {len(winners) * len(all_c)} fits were stopped after {settings.max_iterations} iterations"
        )
    return notes
