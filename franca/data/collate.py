"""From positions of the sample plan to the micro-batches that a step sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch.utils.data import Dataset

from franca.batch import Batch, Skipped
from franca.config import derived
from franca.config.schema import Config
from franca.data.augment import Draws, MultiCrop
from franca.data.decode import Picture, decode_reduced
from franca.data.masking import MaskPlan
from franca.data.mixture import make_plan
from franca.data.plan import Plan
from franca.data.randomness import Ints, Stream, derive_key
from franca.data.sample import BadSample, EncodedSource, Source
from franca.errors import TooManyBadSamples

ATTEMPTS = 16  # samples read for one position before the source is given up


@dataclass(frozen=True)
class CutBatch:
    """A micro-batch whose crops are cut and wait for their colours: bytes, a quarter of what floats take."""

    batch: Batch  # global_crops [2*B, 3, H, W] and local_crops [V*B, 3, H', W'] uint8
    draws: Draws  # [2 + V, B, …]

    def pin_memory(self) -> CutBatch:
        """The same in pinned memory; the data loader looks for this name."""
        return CutBatch(self.batch.pin_memory(), self.draws)


class PretrainingData(Dataset[Batch]):
    """The endless row of micro-batches: item i holds the positions from ``i * micro_batch`` on.

    Args:
        source: Where images come from.
        plan: Which sample comes when.
        crops: Cuts the views.
        masks: Which patches are hidden.
        micro_batch: Images of one item; it divides the global batch.
        seed: From which each batch gets a seed of its own, for what is random in the student's forward.
    """

    def __init__(
        self, source: Source, plan: Plan, crops: MultiCrop, masks: MaskPlan, *, micro_batch: int, seed: int
    ) -> None:
        self.source, self._plan, self._crops, self._masks = source, plan, crops, masks
        self._micro_batch, self._seed = micro_batch, seed

    @classmethod
    def from_config(cls, source: Source, config: Config) -> PretrainingData:
        """The micro-batches that a recipe describes."""
        data, objective, seed = config.data, config.objective, config.train.seed
        plan = make_plan(source, seed=seed, order=data.order, num_lanes=data.num_lanes, window=data.window)
        side = data.global_size_px // config.model.patch_size_px
        masks = MaskPlan(
            grid=(side, side),
            global_batch=config.train.global_batch,
            seed=seed,
            probability=objective.mask_probability,
            ratio=(objective.mask_ratio[0], objective.mask_ratio[1]),
            aspect=(objective.mask_aspect[0], objective.mask_aspect[1]),
            roll=objective.mask_roll,
        )
        micro_batch = derived.micro_batch(config)
        return cls(source, plan, MultiCrop(data, seed=seed), masks, micro_batch=micro_batch, seed=seed)

    @property
    def kind(self) -> str:
        """Kind of the source."""
        return self.source.kind

    @property
    def num_samples(self) -> int:
        """Samples in the source: the length of one pass."""
        return self._plan.num_samples

    def __getitem__(self, index: int) -> Batch:
        """Micro-batch ``index``, the same bit for bit wherever it is made.

        Raises:
            TooManyBadSamples: A position and all its replacements are unreadable.
        """
        return self.finish(self.cut(index), torch.device("cpu"))

    def cut(self, index: int) -> CutBatch:
        """Micro-batch ``index`` as far as it is made of bytes: images read, decoded, cropped and flipped.

        Raises:
            TooManyBadSamples: A position and all its replacements are unreadable.
        """
        positions = index * self._micro_batch + np.arange(self._micro_batch)
        samples = self._plan.samples(positions)
        draws = self._crops.draws(positions)
        keys: list[str] = []
        skipped: list[Skipped] = []
        with _one_thread():
            large, small = self._crops.cut(self._pictures(positions, samples, draws, keys, skipped), draws)
        masks = self._masks.masks(positions)  # [2*B, N]
        batch = Batch(
            global_crops=large.flatten(0, 1),
            local_crops=small.flatten(0, 1),
            masks=torch.from_numpy(masks),
            masked_rows=torch.from_numpy(np.flatnonzero(masks)),
            positions=torch.from_numpy(positions),
            samples=torch.from_numpy(samples),
            global_batch=self._masks.global_batch,
            seed=int(derive_key(self._seed, Stream.STUDENT, positions[0]) >> np.uint64(1)),  # fits an int64
            skipped=tuple(skipped),
            keys=tuple(keys),
        )
        return CutBatch(batch, draws)

    def finish(self, cut: CutBatch, device: torch.device) -> Batch:
        """The batch that a step sees, on ``device``, which does the colours and the normalisation."""
        batch = cut.batch.to(device)
        large, small = (crops.unflatten(0, (-1, batch.num_images)) for crops in (batch.global_crops, batch.local_crops))
        with _one_thread():
            global_crops, local_crops = self._crops.finish(large, small, cut.draws)
        return replace(batch, global_crops=global_crops, local_crops=local_crops)

    def _pictures(
        self, positions: Ints, samples: Ints, draws: Draws, keys: list[str], skipped: list[Skipped]
    ) -> Iterator[Picture]:
        """Read one image a position; note in ``samples`` and ``keys`` what was used, in ``skipped`` what was not."""
        for index, position in enumerate(positions.tolist()):
            samples[index], key, picture = self._read(position, int(samples[index]), draws[:, index], skipped)
            keys.append(key)
            yield picture

    def _read(self, position: int, sample: int, draws: Draws, skipped: list[Skipped]) -> tuple[int, str, Picture]:
        for attempt in range(ATTEMPTS):
            try:
                return sample, *self._picture(sample, draws)
            except BadSample as bad:
                skipped.append(Skipped(bad.key, bad.reason))
                sample = self._plan.replacement(position, attempt)
        names = ", ".join(f"{bad.key} ({bad.reason})" for bad in skipped[-3:])
        raise TooManyBadSamples(
            f"{self.source.location}: {ATTEMPTS} samples in a row are unreadable, the last of them {names}. "
            "Check that these are images."
        )

    def _picture(self, sample: int, draws: Draws) -> tuple[str, Picture]:
        """A sample's key, and what it shows, decoded no larger than its crops need where the source gives files."""
        if not isinstance(self.source, EncodedSource):
            found = self.source.read(sample)
            return found.key, Picture.whole(found.image)
        file = self.source.read_encoded(sample)
        return file.key, decode_reduced(file.data, file.key, partial(self._crops.reduction, draws=draws))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread, as in a worker: sums split over threads round differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
