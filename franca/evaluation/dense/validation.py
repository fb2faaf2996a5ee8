"""Judges segmentation heads on whole images, at the resolution of their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from franca.batch import Skipped
from franca.data.sample import BadSample, Sample, Source
from franca.distributed.reduce import sum_over_ranks
from franca.distributed.together import gather, raising_together, share_of
from franca.errors import DataError
from franca.evaluation.dense.confusion import confusion_matrix
from franca.evaluation.dense.heads import Head
from franca.evaluation.dense.windows import Windows
from franca.features.extract import Progress
from franca.features.images import default_workers, start_worker
from franca.features.job import Job
from franca.features.table import Wanted


@dataclass(frozen=True)
class Example:
    """One image with what it shows and what the first head sees."""

    image: Tensor  # [3, H, W] uint8
    mask: Tensor  # [H, W] uint8
    prediction: Tensor  # [H, W] uint8


@dataclass(frozen=True)
class Judgement:
    """What the heads predict, over the images of all ranks."""

    confusions: list[Tensor]  # of each head, [C, C + 1] int64
    examples: list[Example]  # in the order of the images
    skipped: list[Skipped]  # images that cannot be read


def judge_heads(
    heads: Sequence[Head],
    job: Job,
    windows: Windows,
    num_classes: int,
    *,
    num_examples: int = 0,
    progress: Progress | None = None,
) -> Judgement:
    """Confusion of every head over all images that can be read; ranks share the images.

    Args:
        job: Its model and source are used.
        num_examples: Images to hand out, at equal distances from the first to the last.

    Raises:
        DataError: No image could be read, or a mask is wrong.
    """
    job = replace(job, wanted=Wanted(patches=True))  # heads read patches, whatever tables are to hold
    num_images = len(job.source)
    shown = {index * (num_images - 1) // max(1, num_examples - 1) for index in range(num_examples)}
    confusions = torch.zeros(len(heads), num_classes, num_classes + 1, dtype=torch.int64)
    examples: dict[int, Example] = {}
    skipped: list[Skipped] = []
    with raising_together():
        mine = share_of(range(num_images))
        for done, (index, sample) in enumerate(zip(mine, _read(job, mine), strict=True), start=1):
            if isinstance(sample, Skipped):
                skipped.append(sample)
            else:
                predictions, mask = _predict(heads, job, windows, sample), _mask_of(sample)
                for prediction, confusion in zip(predictions, confusions, strict=True):
                    confusion += confusion_matrix(prediction, mask, num_classes)
                if index in shown:
                    examples[index] = Example(sample.image, mask, predictions[0])
            if progress is not None:
                progress(done, len(mine))
    confusions = sum_over_ranks(confusions)
    if not confusions.any():
        raise DataError(f"{job.source.location}: no labelled pixel in any of its {num_images} images")
    everyone = dict(entry for part in gather(examples) for entry in part.items())
    shown_in_order = [everyone[index] for index in sorted(everyone)]
    return Judgement(list(confusions), shown_in_order, [one for part in gather(skipped) for one in part])


class _Images(Dataset[Sample | Skipped]):
    """Images with masks as they are."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample | Skipped:
        try:
            return self.source.read(index)
        except BadSample as error:
            return Skipped(error.key, error.reason)


def _read(job: Job, indices: Sequence[int]) -> DataLoader[Sample | Skipped]:
    workers = job.settings.workers
    return DataLoader(
        _Images(job.source),
        batch_size=None,
        sampler=indices,
        num_workers=default_workers(len(indices)) if workers is None else workers,
        worker_init_fn=start_worker,
    )


@torch.inference_mode()
def _predict(heads: Sequence[Head], job: Job, windows: Windows, sample: Sample) -> list[Tensor]:
    """Class of every pixel of an image by each head, [H, W] uint8 on the CPU."""

    def score(images: Tensor) -> list[Tensor]:
        patches = job.features(images).patches
        assert patches is not None  # heads were trained on them
        return [head(patches.float()) for head in heads]

    shape = _mask_of(sample).shape
    found = windows.classes(sample.image, score, (shape[0], shape[1]))
    return [classes.to(torch.uint8).cpu() for classes in found]


def _mask_of(sample: Sample) -> Tensor:
    if sample.mask is None:
        raise DataError(f"{sample.key} has no mask")
    return sample.mask
