"""Linear classification on frozen features: a grid of probes, chosen without looking at the validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from franca.config.schema import option
from franca.distributed.together import gather, share_of
from franca.evaluation.choices import check_some
from franca.evaluation.columns import Images
from franca.evaluation.crops import CroppedFeatures
from franca.evaluation.held_out import check_can_hold_out, held_out_rows
from franca.evaluation.known import Known
from franca.evaluation.labels import common_labels
from franca.evaluation.metrics import hits, prefix_widths, top_counts
from franca.evaluation.probes import Candidate, Group, Score, Trainer, batches_of, judge
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject
from franca.features.table import FeatureTable, Wanted

LEARNING_RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]
HELD_OUT, VAL = "held_out", "val"
EPOCHS, EPOCHS_AUGMENTED = 50, 10


@dataclass(frozen=True, kw_only=True)
class LinearSettings:
    """The grid of probes, how they are trained, and how one of them is chosen."""

    learning_rates: list[float] = option(LEARNING_RATES, low=0)
    """Learning rates that are tried, for every choice of features."""
    num_blocks: list[int] = option([1, 4], low=1)
    """Class embeddings of so many last blocks are tried; a shorter model gives all it has."""
    patch_mean: list[bool] = option([False, True])
    """Without, with the mean patch embedding beside them: both are tried."""
    epochs: int | None = option(None, low=1)
    """Passes over the training images; None takes 50, and 10 with ``augment``."""
    probe_batch_size: int = option(256, low=1)
    """Images per step of SGD (momentum 0.9, no weight decay, cosine to zero)."""
    selection: str = option(HELD_OUT, choices=(HELD_OUT, VAL))
    """``held_out`` chooses a probe on training images set aside, and refits it on all of them; ``val`` reports the best
    of all probes on the validation images themselves, as published numbers do."""
    held_out_fraction: float = option(0.1, low=0.001, high=0.9)
    """Share of the training images, of every class alike, on which the winner is chosen."""
    augment: bool = False
    """Train on random resized crops and flips, as published numbers do: features are computed anew in every epoch."""
    seed: int = option(0, low=0)
    """Fixes which images are held out, the order of the batches, and the crops."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions) of the last class embedding, as ``top1_d24``,
    and PCA to as many dimensions, as ``top1_d24_pca``; each is chosen from the learning rates by itself."""

    @property
    def num_epochs(self) -> int:
        """Passes over the training images."""
        return self.epochs or (EPOCHS_AUGMENTED if self.augment else EPOCHS)


def wanted(settings: LinearSettings) -> Wanted:
    """The features this protocol reads: class embeddings of the last blocks, and the mean patch."""
    return Wanted(layers=max(settings.num_blocks), patch_mean=any(settings.patch_mean))


def check_before(settings: LinearSettings, known: Known) -> None:
    """To be asked before features are computed.

    Raises:
        ConfigError: The grid is empty.
        DataError: There are too few training images to hold some out.
    """
    check_some(learning_rates=settings.learning_rates, num_blocks=settings.num_blocks, patch_mean=settings.patch_mean)
    if settings.selection == HELD_OUT and "train" in known.class_counts:
        check_can_hold_out(max(known.class_counts["train"].values(), default=0))


Contests = Mapping[str, Sequence[Candidate]]  # metric to those among which the best is reported


def judge_subject(subject: Subject, settings: LinearSettings) -> Result:
    """See `run`; with ``augment`` the model is run on new crops of the training images in every epoch."""
    train, val = subject.table("train"), subject.table("val")
    crops = CroppedFeatures(subject.job("train"), train, seed=settings.seed) if settings.augment else None
    return run(train, val, settings, subject.device, crops)


def run(
    train: FeatureTable,
    val: FeatureTable,
    settings: LinearSettings,
    device: torch.device | str = "cpu",
    crops: CroppedFeatures | None = None,
) -> Result:
    """Accuracy on ``val`` of the probe that did best on held-out training images, refitted on all of ``train``.

    Every rank trains its share of the probes; all return the same.

    Args:
        crops: Where training features come from instead of ``train``.

    Raises:
        DataError: There are too few training images to hold some out, or the tables do not go together.
    """
    labels = common_labels(train, val)
    images = Images.of(train, val, labels, torch.device(device), pca=settings.prefixes)
    contests: dict[str, list[Candidate]] = {"top1": grid(train, settings)}
    if settings.prefixes:
        contests |= prefix_grids(train, settings)
    winners, groups, scores = _compete(contests, images, settings, crops)
    metrics = _metrics(winners, groups, images)
    chosen = {metric: _describe(winner, scores[winner], settings) for metric, winner in winners.items()}
    about = asdict(settings) | {"epochs": settings.num_epochs, "winners": chosen}
    return Result("linear", metrics, about, tuple(_notes(train, settings, winners["top1"])))


def grid(table: FeatureTable, settings: LinearSettings) -> list[Candidate]:
    """Every choice of features with every learning rate."""
    num_layers, width = table.cls.shape[1:]
    found = []
    for blocks in sorted({min(blocks, num_layers) for blocks in settings.num_blocks}):
        for patch_mean in sorted({use and table.patch_mean is not None for use in settings.patch_mean}):
            start, stop = (num_layers - blocks) * width, (num_layers + patch_mean) * width
            name = f"last_{blocks}" + "+patch_mean" * patch_mean
            found += [Candidate(name, start, stop, rate) for rate in settings.learning_rates]
    return found


def prefix_grids(table: FeatureTable, settings: LinearSettings) -> dict[str, list[Candidate]]:
    """For the metric of each Matryoshka prefix, and of PCA to its width: these columns with every learning rate."""
    num_layers, width = table.cls.shape[1:]
    nested = (num_layers - 1) * width
    components = (num_layers + (table.patch_mean is not None)) * width
    return {
        f"top1_d{prefix}{suffix}": [Candidate(name, start, start + prefix, rate) for rate in settings.learning_rates]
        for suffix, name, start in (("", "last_1", nested), ("_pca", "pca", components))
        for prefix in prefix_widths(width)
    }


def _compete(
    contests: Contests, images: Images, settings: LinearSettings, crops: CroppedFeatures | None
) -> tuple[dict[str, Candidate], list[Group], dict[Candidate, Score]]:
    """The winner of every contest, this rank's classifiers as trained on all images, and the scores that decided."""
    everyone = list(dict.fromkeys(candidate for contest in contests.values() for candidate in contest))
    every_row = torch.arange(len(images.train))
    if settings.selection == VAL:
        [groups] = _train([(everyone, every_row)], images, settings, crops)
        scores = _together(judge(groups, images.all_of_val()))
        return _best(contests, scores), groups, scores
    held_out = held_out_rows(images.train_labels, settings.held_out_fraction, settings.seed)
    kept = every_row[~held_out]
    judged = every_row[held_out].split(settings.probe_batch_size)
    if crops is None:
        [tried] = _train([(everyone, kept)], images, settings, None)
        scores = _together(judge(tried, images.some_of_train(judged)))
        winners = _best(contests, scores)
        [groups] = _train([(list(dict.fromkeys(winners.values())), every_row)], images, settings, None)
        return winners, groups, scores
    # Features cost more than probes here: all are trained on all images in the same pass, and the winners taken.
    tried, groups = _train([(everyone, kept), (everyone, every_row)], images, settings, crops)
    scores = _together(judge(tried, images.some_of_train(judged)))
    return _best(contests, scores), groups, scores


def _train(
    parts: Sequence[tuple[Sequence[Candidate], Tensor]],
    images: Images,
    settings: LinearSettings,
    crops: CroppedFeatures | None,
) -> list[list[Group]]:
    """This rank's share of the candidates of each part, trained on its rows; with crops, all parts in one pass."""
    device, size = images.columns.device, settings.probe_batch_size
    num_rows = [len(rows) if crops is None else len(images.train) for _, rows in parts]
    trainers = [
        Trainer(
            share_of(candidates),
            num_classes=images.num_classes,
            num_steps=settings.num_epochs * math.ceil(number / size),
            device=device,
        )
        for (candidates, _), number in zip(parts, num_rows, strict=True)
    ]
    if crops is None:
        for trainer, (_, rows) in zip(trainers, parts, strict=True):
            order = batches_of(rows, epochs=settings.num_epochs, batch_size=size, seed=settings.seed)
            for features, labels in images.some_of_train(order):
                trainer.step(features, labels)
    else:
        members = [torch.isin(torch.arange(len(images.train)), rows).to(device) for _, rows in parts]
        for rows, cls, patch_mean in crops.batches(epochs=settings.num_epochs, batch_size=size):
            features = images.columns(cls, patch_mean)
            for trainer, member in zip(trainers, members, strict=True):
                chosen = member[rows]
                trainer.step(features[chosen], images.train_labels[rows[chosen]])
    return [trainer.groups for trainer in trainers]


def _together(scores: dict[Candidate, Score]) -> dict[Candidate, Score]:
    """The scores of all ranks."""
    return {candidate: score for share in gather(scores) for candidate, score in share.items()}


def _best(contests: Contests, scores: Mapping[Candidate, Score]) -> dict[str, Candidate]:
    """Highest accuracy, among equals lowest loss."""
    return {
        metric: max(contest, key=lambda candidate: (scores[candidate].accuracy, -scores[candidate].loss))
        for metric, contest in contests.items()
    }


def _metrics(winners: Mapping[str, Candidate], groups: Sequence[Group], images: Images) -> dict[str, float]:
    """Accuracy of every winner on val, from the rank that trained it."""
    mine = {candidate: (group, index) for group in groups for index, candidate in enumerate(group.candidates)}
    counts = top_counts(images.num_classes)
    right = {(metric, at): 0 for metric, winner in winners.items() if winner in mine for at in counts}
    for features, labels in images.all_of_val() if right else []:
        for metric, at in right:
            group, index = mine[winners[metric]]
            right[metric, at] += hits(group.logits(features)[:, index], labels, at=at)
    found = {key: number for share in gather(right) for key, number in share.items()}
    return {
        metric.replace("top1", f"top{at}"): found[metric, at] / len(images.val)
        for metric in winners
        for at in (counts if metric == "top1" else (1,))
    }


def _describe(winner: Candidate, score: Score, settings: LinearSettings) -> dict[str, str | float]:
    return {
        "features": winner.name,
        "learning_rate": winner.learning_rate,
        f"{settings.selection}_top1": score.accuracy,
    }


def _notes(train: FeatureTable, settings: LinearSettings, winner: Candidate) -> list[str]:
    notes = []
    if settings.selection == VAL:
        notes.append(
            f"the best of {len(grid(train, settings))} probes on val= itself, as published numbers are chosen: it "
            "flatters the model; selection=held_out does not"
        )
    if train.cls.shape[1] < max(settings.num_blocks):
        notes.append(f"the model offers {train.cls.shape[1]} block(s): as many were taken for num_blocks above that")
    if any(settings.patch_mean) and train.patch_mean is None:
        notes.append("the model offers no patch embeddings: the choices with their mean were left out")
    rates = settings.learning_rates
    if len(rates) > 1 and winner.learning_rate in (min(rates), max(rates)):
        notes.append(
            f"the best learning rate, {winner.learning_rate:g}, is at the edge of the grid: a wider one may do better"
        )
    return notes
