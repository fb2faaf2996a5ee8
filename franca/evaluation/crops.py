"""Features of random crops of the training images, new ones in every epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from franca.batch import Skipped
from franca.data.augment import TRIES, crop_box
from franca.data.randomness import Stream, derive_key, generator
from franca.data.sample import BadSample, Source
from franca.distributed.together import gather, raising_together, share_of
from franca.errors import DataError
from franca.evaluation.probes import batches_of
from franca.features.images import ImageBatch, LabelledImage, default_workers, start_worker, to_batch
from franca.features.job import Job
from franca.features.table import FeatureTable

SCALE = (0.08, 1.0)  # share of the image's area
FLIP = 0.5

Place = tuple[int, int]  # epoch, image


class RandomCrops(Dataset[LabelledImage | Skipped]):
    """A random part of an image, brought to one size, and flipped or not; by seed, epoch and image alone.

    Source: the augmentation of ImageNet classification, with which DINOv2 trains its linear probes.
    """

    def __init__(self, source: Source, size_px: tuple[int, int], seed: int) -> None:
        self._source, self._size_px, self._seed = source, size_px, seed

    def __getitem__(self, place: Place) -> LabelledImage | Skipped:
        epoch, index = place
        try:
            sample = self._source.read(index)
        except BadSample as bad:
            return Skipped(bad.key, bad.reason)
        key = derive_key([self._seed], Stream.CROPS, epoch, index)[0]
        *box_draws, flip = generator(key).random(2 * TRIES + 3)
        top, left, height, width = crop_box(sample.image.shape[1], sample.image.shape[2], SCALE, box_draws)
        part = sample.image[None, :, top : top + height, left : left + width]
        image = interpolate(part, size=self._size_px, mode="bicubic", antialias=True)[0]
        return LabelledImage(sample.key, image.flip(-1) if flip < FLIP else image, sample.label)


class CroppedFeatures:
    """Runs a model on random crops of the images of a table.

    Args:
        job: How the features of the table were computed.
        table: Gives the images; one that it lacks, and one that can no longer be read, is left out.
        seed: Fixes the order of the images and the crops.

    Raises:
        DataError: Two images have one name, by which a crop finds its row.
    """

    def __init__(self, job: Job, table: FeatureTable, *, seed: int) -> None:
        self._job, self._seed = job, seed
        self._row_of = {key: row for row, key in enumerate(table.keys)}
        if len(self._row_of) < len(table.keys):
            twice, _ = Counter(table.keys).most_common(1)[0]
            raise DataError(
                f"{job.source.location}: several images are called {twice}; augment=true tells images by their names. "
                "Give tars that lie in different folders names of their own, or leave augment out"
            )
        self._with_patches = table.patch_mean is not None

    def batches(self, *, epochs: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Rows of the table [B], class embeddings [B, L, D] and mean patches [B, D] of a crop of each, on the device.

        Every rank computes its share of each batch; all get the whole.
        """
        for batch in self._read(epochs, batch_size):
            with raising_together():
                mine = self._features(batch)
            shares = [share for share in gather(mine) if share is not None]
            if not shares:
                continue
            rows, cls, means = zip(*shares, strict=True)
            mean = torch.cat(means).to(self._job.device) if self._with_patches else None
            yield torch.cat(rows).to(self._job.device), torch.cat(cls).to(self._job.device), mean

    def _features(self, batch: ImageBatch) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """The same for the images that this rank has read, on the CPU: another rank lacks its device; None if none."""
        known = [index for index, key in enumerate(batch.keys) if key in self._row_of]
        if not known:
            return None
        features = self._job.features(batch.images[known])
        rows = torch.tensor([self._row_of[batch.keys[index]] for index in known])
        patches = features.patches if self._with_patches else None
        mean = None if patches is None else patches.float().flatten(1, 2).mean(1).cpu()
        return rows, features.cls.float().cpu(), mean

    def _read(self, epochs: int, batch_size: int) -> Iterator[ImageBatch]:
        workers = self._job.settings.workers
        source = self._job.source
        loader: DataLoader[ImageBatch] = DataLoader(
            RandomCrops(source, self._job.size_px, self._seed),  # type: ignore[arg-type]
            batch_sampler=_Order(len(source), epochs, batch_size, self._seed),
            num_workers=default_workers(len(source)) if workers is None else workers,
            collate_fn=to_batch,
            pin_memory=self._job.device.type == "cuda",
            worker_init_fn=start_worker,
        )
        yield from loader


class _Order:
    """This rank's share of every batch of every epoch, as places."""

    def __init__(self, num_images: int, epochs: int, batch_size: int, seed: int) -> None:
        self._num_images, self._epochs, self._batch_size, self._seed = num_images, epochs, batch_size, seed

    def __len__(self) -> int:
        return self._epochs * -(-self._num_images // self._batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        rows = torch.arange(self._num_images)
        per_epoch = len(self) // self._epochs
        batches = batches_of(rows, epochs=self._epochs, batch_size=self._batch_size, seed=self._seed)
        for number, batch in enumerate(batches):
            yield [(number // per_epoch, index) for index in share_of(batch.tolist())]
