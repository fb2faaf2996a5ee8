"""In-context segmentation: patches take the classes of their nearest neighbours in a memory; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from franca.config.schema import option
from franca.distributed.reduce import sum_over_ranks
from franca.distributed.together import raising_together
from franca.errors import DataError
from franca.evaluation.choices import check_some
from franca.evaluation.dense.confusion import SegmentationScores, confusion_matrix, scores
from franca.evaluation.dense.sampling import (
    PatchSample,
    batches_of_this_rank,
    budget_of,
    check_labelled,
    draw_patches,
    mask_classes,
    masks_of,
    num_batches_of_this_rank,
)
from franca.evaluation.dense.stages import Stages
from franca.evaluation.dense.summary import OCCURRING, iou_by_class, summarise
from franca.evaluation.dense.variants import Variant, variants, with_full_width
from franca.evaluation.known import Known
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject
from franca.features.patches import PatchBatch, PatchTable
from franca.features.table import Wanted

MAX_SIMILARITIES = 1 << 26  # held at once: 256 MiB in fp32


@dataclass(frozen=True, kw_only=True)
class IncontextSettings:
    """What the memory holds, and how its patches vote."""

    k: int = option(30, low=1)
    """Neighbours of a patch that vote."""
    temperature: float = option(0.02, low=1e-4)
    """A neighbour votes with the weight exp(cosine similarity / temperature)."""
    memory_mib: float = option(2048.0, low=0.01)
    """Most that the memory may take up. Where not all patches of the training images fit, each image gives the same
    number, drawn by the seed."""
    seeds: list[int] = option([0, 1, 2, 3, 4], low=0)
    """One run each, with a memory of its own; the mean over runs is reported. Where all patches fit, one run says it
    all."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``miou_d24``."""


def wanted(settings: IncontextSettings) -> Wanted:
    """The features this protocol reads: patch embeddings of the last block."""
    return Wanted(patches=True, masks=True)


@dataclass(frozen=True)
class Memory:
    """Patches that are compared with, and what they vote for."""

    keys: Tensor  # [n, D]: unit vectors minus their mean
    centre: Tensor  # [D]: that mean
    offset: Tensor  # [n]: minus half the squared length of each key
    votes: Tensor  # [n, C]: shares of classes

    @classmethod
    def of(cls, patches: Tensor, votes: Tensor) -> Memory:
        """A memory of patches [n, D] with the shares of classes [n, C] in them."""
        keys = normalize(patches)
        centre = keys.mean(0)
        keys = keys - centre
        return cls(keys, centre, keys.square().sum(1) / -2, votes)

    def predict(self, patches: Tensor, k: int, temperature: float) -> Tensor:
        """Shares of classes that the k nearest vote for.

        Args:
            patches: [m, D].
            k: At most the number of patches held.

        Returns:
            [m, C] float32; rows sum to 1.
        """
        found = []
        size = max(1, MAX_SIMILARITIES // max(len(self.keys), k * self.votes.shape[1]))
        for rows in normalize(patches).split(size):
            # Cosine similarity up to a number per query, which changes no vote; see franca.evaluation.knn.
            similarities = torch.addmm(self.offset, rows - self.centre, self.keys.T)  # [b, n]
            nearest = similarities.topk(k, dim=1)
            weights = torch.softmax(nearest.values / temperature, dim=1)  # [b, k]
            found.append(torch.einsum("bk,bkc->bc", weights, self.votes[nearest.indices]))
        return torch.cat(found)


def check_before(settings: IncontextSettings, known: Known) -> None:
    """Raises a ConfigError where nothing would be drawn; to be asked before features are computed."""
    check_some(seeds=settings.seeds)


def run(subject: Subject, settings: IncontextSettings) -> Result:
    """Mean IoU on the validation images when each patch takes what its neighbours among training patches vote for.

    Votes are enlarged bilinearly to the mask's size, at the size of the model's input, before the class with most is
    taken.

    Raises:
        DataError: The images have no masks, other classes in train and val, no labelled pixel, or fewer training
            patches than k.

    Source:
        Balažević et al., Towards In-Context Scene Understanding (2023), called HummingBird. There and in Franca the
        memory holds all or ten million patches; here each image gives as many as fit into ``memory_mib``.
    """
    train, val = subject.patches("train"), subject.patches("val")
    names = mask_classes(train, val)
    check_labelled("val", val)
    budget = budget_of(settings.memory_mib, 2 * train.width + len(names))  # as drawn, and as unit vectors
    runs: dict[str, list[SegmentationScores]] = {}
    kinds = variants(train.width, subject.projector, prefixes=settings.prefixes)
    stages = Stages(subject.progress, "search", len(settings.seeds) * len(kinds), num_batches_of_this_rank(val))
    for seed in settings.seeds:
        sample = draw_patches(train, budget, seed=seed, num_classes=len(names))
        for variant in kinds:
            memory = _remember(sample, variant, settings.k, subject.device)
            found = scores(_judge(memory, val, variant, settings, stages.step))
            runs.setdefault(variant.suffix, []).append(found)
        if sample.is_whole:
            stages.end()
            break
    size = f"{len(sample.patches):,} of {len(train) * train.grid[0] * train.grid[1]:,} training patches"
    note = f"the memory holds {size}"
    if sample.is_whole:
        note += ", all that have a labelled pixel, so that seeds change nothing"
    metrics, numbers = summarise(runs)
    if settings.prefixes:
        metrics = with_full_width(metrics, train.width)
    by_class = iou_by_class(runs[""], names)
    return Result("incontext", metrics, asdict(settings), (note, OCCURRING), numbers, by_class)


def _remember(sample: PatchSample, variant: Variant, k: int, device: torch.device) -> Memory:
    if len(sample.patches) < k:
        raise DataError(
            f"k={k} neighbours are asked for, the memory holds {len(sample.patches)} labelled patches; lower k, raise "
            "memory_mib, or give more images"
        )
    assert sample.votes is not None  # they were asked for
    return Memory.of(variant(sample.patches.to(device)), sample.votes.to(device))


def _judge(
    memory: Memory, val: PatchTable, variant: Variant, settings: IncontextSettings, step: Callable[[], None]
) -> Tensor:
    """The confusion matrix over the images of all ranks."""
    num_classes = memory.votes.shape[1]
    confusion = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    with raising_together():
        for batch in batches_of_this_rank(val):
            confusion += _confusion_of(batch, memory, variant, settings)
            step()
    return sum_over_ranks(confusion)


def _confusion_of(batch: PatchBatch, memory: Memory, variant: Variant, settings: IncontextSettings) -> Tensor:
    """The confusion matrix over the images of a batch."""
    num_classes = memory.votes.shape[1]
    patches = variant(batch.patches.to(memory.keys.device))  # [B, h, w, d]
    votes = memory.predict(patches.flatten(0, 2), settings.k, settings.temperature)
    votes = votes.view(*patches.shape[:3], num_classes).permute(0, 3, 1, 2)  # [B, C, h, w]
    confusion = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    for image, mask in zip(votes, masks_of(batch), strict=True):
        enlarged = interpolate(image[None], size=mask.shape, mode="bilinear", align_corners=False)
        confusion += confusion_matrix(enlarged[0].argmax(0), mask.to(enlarged.device), num_classes)
    return confusion
