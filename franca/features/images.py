"""Images of a source, read and cropped by workers and handed over in batches of bytes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from franca.batch import Skipped
from franca.data.sample import BadSample, Source
from franca.features.preprocess import resize_and_crop

MAX_WORKERS = 8
MIN_IMAGES_PER_WORKER = 256  # below this, starting a process costs more than it saves


@dataclass(frozen=True)
class LabelledImage:
    """One image, ready for a batch."""

    key: str
    image: Tensor  # [3, S, S] uint8
    label: int | None


@dataclass(frozen=True)
class ImageBatch:
    """Consecutive images of a source; those that could not be read are named, not replaced."""

    images: Tensor  # [B, 3, S, S] uint8; B may be 0
    labels: tuple[int | None, ...]
    keys: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def pin_memory(self) -> ImageBatch:
        """The same batch in page-locked memory; the data loader calls this."""
        return ImageBatch(self.images.pin_memory(), self.labels, self.keys, self.skipped)


class SourceImages(Dataset[LabelledImage | Skipped]):
    """The images of ``source``, each cropped to ``size_px`` square."""

    def __init__(self, source: Source, size_px: int) -> None:
        self.source = source
        self.size_px = size_px

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> LabelledImage | Skipped:
        try:
            sample = self.source.read(index)
        except BadSample as bad:
            return Skipped(bad.key, bad.reason)
        return LabelledImage(sample.key, resize_and_crop(sample.image, self.size_px), sample.label)


def to_batch(items: Sequence[LabelledImage | Skipped]) -> ImageBatch:
    """Stacks what could be read and lists the rest."""
    read = [item for item in items if isinstance(item, LabelledImage)]
    return ImageBatch(
        images=torch.stack([item.image for item in read]) if read else torch.empty(0, 3, 0, 0, dtype=torch.uint8),
        labels=tuple(item.label for item in read),
        keys=tuple(item.key for item in read),
        skipped=tuple(item for item in items if isinstance(item, Skipped)),
    )


def default_workers(num_images: int) -> int:
    """One process less than the cores, at most 8, and none for a handful of images."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, MAX_WORKERS, num_images // MIN_IMAGES_PER_WORKER)


def leave_signals_to_the_main_process(worker: int) -> None:
    """Ctrl-C ends the main process, which ends its workers; without this each of them prints a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
