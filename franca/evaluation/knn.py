"""k-nearest-neighbour classification on frozen class embeddings: nothing is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from franca.config.schema import option
from franca.distributed.in_step import InStep, ShouldStop
from franca.distributed.together import gather, share_of
from franca.errors import DataError
from franca.evaluation.known import Known
from franca.evaluation.labels import Labels, common_labels
from franca.evaluation.metrics import hits, top_counts
from franca.evaluation.neighbours import Bank, Blocks, Columns
from franca.evaluation.prefixes import views
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject
from franca.features.table import CLASS_EMBEDDING, FeatureTable, Wanted

MEMORY_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class KnnSettings:
    """How neighbours vote."""

    k: int = option(20, low=1)
    """Neighbours of the headline, ``top1``."""
    other_k: list[int] = option([10, 100, 200], low=1)
    """Further numbers of neighbours, reported as ``top1_k10`` and so on."""
    temperature: float = option(0.07, low=1e-4)
    """A neighbour votes with the weight exp(cosine similarity / temperature)."""
    memory_mib: int = option(MEMORY_MIB, low=1)
    """Memory of the search on each rank, beside the features; less is slower and gives the same numbers."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``top1_d24``, and PCA to as many
    dimensions, as ``top1_d24_pca``."""


def wanted(settings: KnnSettings) -> Wanted:
    """The features this protocol reads: class embeddings of the last block."""
    return CLASS_EMBEDDING


def check_before(settings: KnnSettings, known: Known) -> None:
    """To be asked before features are computed.

    Raises:
        DataError: ``k`` is more than the images of train=, or ``memory_mib`` is too little.
    """
    num_train, num_val = known.num_images["train"], known.num_images["val"]
    if settings.k > num_train:
        raise DataError(f"k={settings.k} neighbours are asked for, train= has {num_train} images; lower k")
    if known.width is not None:
        k = max([settings.k, *possible_k(settings, num_train)])
        Blocks.within(settings.memory_mib, num_bank=num_train, num_queries=num_val, width=known.width, k=k)


def possible_k(settings: KnnSettings, num_train: int) -> list[int]:
    """Those further numbers of neighbours that so many images have."""
    return [k for k in settings.other_k if k <= num_train and k != settings.k]


def judge_subject(subject: Subject, settings: KnnSettings) -> Result:
    """See `run`."""
    return run(subject.table("train"), subject.table("val"), settings, subject.device, subject.should_stop)


def run(
    train: FeatureTable,
    val: FeatureTable,
    settings: KnnSettings,
    device: torch.device | str = "cpu",
    should_stop: ShouldStop | None = None,
) -> Result:
    """Accuracy on ``val`` when each image takes the class that its nearest neighbours in ``train`` vote for.

    Every rank looks up its share of ``val``; all return the same.

    Raises:
        DataError: ``train`` has fewer images than the headline's k, or the tables do not go together.
        BrokenOff: A rank was asked to stop, between two blocks of ``val``.
    """
    labels = common_labels(train, val)
    check_before(settings, Known({"train": len(train), "val": len(val)}, {}, train.width))
    smaller = possible_k(settings, len(train))

    def search(all_k: Sequence[int], columns: Columns | None = None) -> dict[tuple[int, int], float]:
        return accuracies(
            train.embedding,
            val.embedding,
            labels,
            all_k,
            settings.temperature,
            memory_mib=settings.memory_mib,
            columns=columns,
            device=device,
            should_stop=should_stop,
        )

    found = search([settings.k, *smaller])
    metrics = {f"top{at}": found[settings.k, at] for at in top_counts(labels.num_classes)}
    metrics |= {f"top1_k{k}": found[k, 1] for k in smaller}
    for view in views(train.embedding, device) if settings.prefixes else []:
        whole = view.pca is None and view.width == train.width
        metrics[view.metric("top1")] = metrics["top1"] if whole else search([settings.k], view)[settings.k, 1]
    left_out = [k for k in settings.other_k if k > len(train)]
    notes = (f"k = {', '.join(map(str, left_out))} left out: train= has {len(train)} images",) if left_out else ()
    return Result("knn", metrics, asdict(settings), notes)


def accuracies(
    train: Tensor,
    val: Tensor,
    labels: Labels,
    all_k: Sequence[int],
    temperature: float,
    *,
    memory_mib: int = MEMORY_MIB,
    columns: Columns | None = None,
    device: torch.device | str = "cpu",
    should_stop: ShouldStop | None = None,
) -> dict[tuple[int, int], float]:
    """Top-n accuracy for every (k, n), the same on every rank.

    Args:
        train: [n, D], the memory that neighbours are looked for in; any dtype, anywhere.
        val: [m, D].
        all_k: Numbers of neighbours, each at most n.
        temperature: Of the votes, above 0.
        memory_mib: Beside these tensors, on each rank.
        columns: Which columns are compared; all unless told.
        should_stop: Asked between blocks of ``val``; one rank that is to stop breaks off the search on all.
    """
    counts = top_counts(labels.num_classes)
    blocks = Blocks.within(memory_mib, num_bank=len(train), num_queries=len(val), width=train.shape[1], k=max(all_k))
    bank = Bank(train, blocks, columns=columns, device=device)

    found: Counter[tuple[int, int]] = Counter()
    mine = torch.tensor(share_of(range(len(val))), dtype=torch.int64).split(blocks.num_queries)
    with InStep(should_stop, len(mine)) as in_step:
        for rows in mine:
            similarity, neighbours = bank.nearest(val[rows], max(all_k))  # [B, k] twice
            neighbour_labels = labels.train[neighbours.cpu()].to(similarity.device)
            for some in torch.arange(len(rows)).split(_voters(blocks, labels.num_classes)):
                truth = labels.val[rows[some]].to(similarity.device)
                for k in all_k:
                    votes = vote(similarity[some, :k], neighbour_labels[some, :k], labels.num_classes, temperature)
                    found.update({(k, at): hits(votes, truth, at=at) for at in counts})
            in_step.piece_done()
    right = sum(gather(found), Counter())
    return {(k, at): right[k, at] / len(val) for k in all_k for at in counts}


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


def _voters(blocks: Blocks, num_classes: int) -> int:
    """Images whose votes take, with what makes them, no more than a block of similarities took."""
    return max(1, blocks.num_queries * blocks.num_bank_rows // (4 * num_classes))
