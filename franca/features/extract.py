"""Runs a backbone once over a source and keeps its features."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from franca.batch import Skipped
from franca.data.sample import Source
from franca.distributed.device import DTYPES, resolve_precision
from franca.errors import DataError
from franca.features.backbone import check_image_size, last_blocks, num_blocks, preprocessing_of
from franca.features.images import (
    ImageBatch,
    SourceImages,
    default_workers,
    leave_signals_to_the_main_process,
    to_batch,
)
from franca.features.preprocess import normalise
from franca.features.table import CLASS_EMBEDDING, FeatureTable, Wanted

Progress = Callable[[int, int], None]  # (images done, images in all)


def extract(
    backbone: nn.Module,
    source: Source,
    wanted: Wanted = CLASS_EMBEDDING,
    *,
    image_size_px: int | None = None,
    batch_size: int = 128,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    progress: Progress | None = None,
) -> FeatureTable:
    """Features of every readable image of ``source``, in its order.

    Args:
        backbone: See `franca.features.backbone` for what it must offer. It is moved to ``device``, in eval mode.
        wanted: What to keep; the class embedding of the last block unless told.
        image_size_px: Height and width of the input; None takes what the backbone was made for.
        workers: Processes that read images; None takes one less than the cores, at most 8.
        precision: auto, fp32, bf16 or fp16, of the backbone's products; features are kept in fp32.
        progress: Called after every batch.

    Raises:
        DataError: No image could be read, or the image size does not fit the backbone.
    """
    device = torch.device(device)
    preprocessing = preprocessing_of(backbone)
    size_px = image_size_px or preprocessing.image_size_px
    check_image_size(backbone, size_px)
    dtype = DTYPES[resolve_precision(precision, device)]
    backbone = backbone.to(device).eval()

    rows = _Rows()
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        for batch in _batches(source, size_px, batch_size, workers, device, progress):
            rows.name(batch)
            if batch.keys:
                images = batch.images.to(device, non_blocking=True)
                images = normalise(images, preprocessing.mean, preprocessing.std)
                rows.keep(*last_blocks(backbone, images, min(wanted.layers, num_blocks(backbone))), wanted)
    if not rows.keys:
        raise DataError(f"{source.location}: none of its {len(source)} images could be read")
    return rows.table(source.class_names)


def _batches(
    source: Source, size_px: int, batch_size: int, workers: int | None, device: torch.device, progress: Progress | None
) -> Iterator[ImageBatch]:
    """Every image of the source once, in order."""
    loader: DataLoader[ImageBatch] = DataLoader(
        SourceImages(source, size_px),  # type: ignore[arg-type]
        batch_size=batch_size,
        num_workers=default_workers(len(source)) if workers is None else workers,
        collate_fn=to_batch,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_signals_to_the_main_process,
    )
    done = 0
    for batch in loader:
        yield batch
        done += len(batch.keys) + len(batch.skipped)
        if progress is not None:
            progress(done, len(source))


class _Rows:
    """Collects what every batch gives, in fp32 on the CPU."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.labels: list[int | None] = []
        self.skipped: list[Skipped] = []
        self.cls: list[Tensor] = []  # of [B, L, D]
        self.patch_mean: list[Tensor] = []  # of [B, D]
        self.patches: list[Tensor] = []  # of [B, N, D]

    def name(self, batch: ImageBatch) -> None:
        """Notes which images a batch held."""
        self.keys += batch.keys
        self.labels += batch.labels
        self.skipped += batch.skipped

    def keep(self, cls: Tensor, patches: Tensor | None, wanted: Wanted) -> None:
        """Keeps what is wanted of a batch's features."""
        self.cls.append(cls.float().cpu())
        if patches is not None and wanted.patch_mean:
            self.patch_mean.append(patches.float().mean(1).cpu())
        if patches is not None and wanted.patches:
            self.patches.append(patches.float().cpu())

    def table(self, class_names: tuple[str, ...] | None) -> FeatureTable:
        """All rows together; labels only where every image has one."""
        labels = [label for label in self.labels if label is not None]
        return FeatureTable(
            cls=torch.cat(self.cls),
            patch_mean=torch.cat(self.patch_mean) if self.patch_mean else None,
            labels=torch.tensor(labels) if len(labels) == len(self.keys) else None,
            keys=tuple(self.keys),
            class_names=class_names,
            patches=torch.cat(self.patches) if self.patches else None,
            skipped=tuple(self.skipped),
        )
