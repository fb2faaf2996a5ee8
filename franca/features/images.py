"""Images of a source, read and cropped by workers and handed over in batches of bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from franca.batch import Skipped
from franca.data.sample import BadSample, Source
from franca.distributed.cores import spare_cores
from franca.distributed.lifetime import end_with_parent, leave_signals_to_parent
from franca.distributed.ranks import resolve_ranks
from franca.features.preprocess import bring_to

MIN_IMAGES_PER_WORKER = 256  # below this, starting a process costs more than it saves


@dataclass(frozen=True)
class LabelledImage:
    """One image, ready for a batch."""

    key: str
    image: Tensor  # [3, H, W] uint8
    label: int | None
    mask: Tensor | None = None  # [H, W] uint8, 255 = ignore


@dataclass(frozen=True)
class ImageBatch:
    """Consecutive images of a source; those that could not be read are named, not replaced."""

    images: Tensor  # [B, 3, H, W] uint8; B may be 0
    labels: tuple[int | None, ...]
    keys: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    masks: Tensor | None = None  # [B, H, W] uint8, where the source has them

    def pin_memory(self) -> ImageBatch:
        """The same batch with its images in page-locked memory; the data loader calls this."""
        return replace(self, images=self.images.pin_memory())


class SourceImages(Dataset[LabelledImage | Skipped]):
    """The images of ``source``, each brought to one size; see `franca.features.preprocess.bring_to`."""

    def __init__(self, source: Source, size_px: tuple[int, int], fit: str = "crop", *, masks: bool = False) -> None:
        self.source = source
        self.size_px = size_px
        self.fit = fit
        self.masks = masks

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> LabelledImage | Skipped:
        try:
            sample = self.source.read(index)
        except BadSample as bad:
            return Skipped(bad.key, bad.reason)
        image = bring_to(sample.image, self.size_px, self.fit)
        if sample.mask is None or not self.masks:
            return LabelledImage(sample.key, image, sample.label)
        mask = bring_to(sample.mask[None], self.size_px, self.fit, is_mask=True)[0]
        return LabelledImage(sample.key, image, sample.label, mask)


def to_batch(items: Sequence[LabelledImage | Skipped]) -> ImageBatch:
    """Stacks what could be read and lists the rest."""
    read = [item for item in items if isinstance(item, LabelledImage)]
    masks = [item.mask for item in read if item.mask is not None]
    return ImageBatch(
        images=torch.stack([item.image for item in read]) if read else torch.empty(0, 3, 0, 0, dtype=torch.uint8),
        labels=tuple(item.label for item in read),
        keys=tuple(item.key for item in read),
        skipped=tuple(item for item in items if isinstance(item, Skipped)),
        masks=torch.stack(masks) if masks and len(masks) == len(read) else None,
    )


def default_workers(num_images: int) -> int:
    """This rank's share of the cores less one, at most 8, and none for a handful of images."""
    return min(spare_cores(resolve_ranks(os.environ).local_world), num_images // MIN_IMAGES_PER_WORKER)


def start_worker(worker: int) -> None:
    """A worker ends with the main process and leaves signals to it; else Ctrl-C would print many tracebacks."""
    leave_signals_to_parent()
    end_with_parent()
