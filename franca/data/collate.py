"""From positions of the sample plan to the micro-batches that a step sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from franca.batch import Batch, Skipped
from franca.config import derived
from franca.config.schema import Config
from franca.data.augment import MultiCrop
from franca.data.masking import MaskPlan
from franca.data.plan import SamplePlan
from franca.data.randomness import Ints, Stream, derive_key
from franca.data.sample import BadSample, Source
from franca.errors import TooManyBadSamples

ATTEMPTS = 16  # samples read for one position before the source is given up


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
        self, source: Source, plan: SamplePlan, crops: MultiCrop, masks: MaskPlan, *, micro_batch: int, seed: int
    ) -> None:
        self._source, self._plan, self._crops, self._masks = source, plan, crops, masks
        self._micro_batch, self._seed = micro_batch, seed

    @classmethod
    def from_config(cls, source: Source, config: Config) -> PretrainingData:
        """The micro-batches that a recipe describes."""
        data, objective, seed = config.data, config.objective, config.train.seed
        plan = SamplePlan(source.group_sizes, seed=seed, order=data.order, num_lanes=data.num_lanes, window=data.window)
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
    def num_samples(self) -> int:
        """Samples in the source: the length of one pass."""
        return self._plan.num_samples

    def __getitem__(self, index: int) -> Batch:
        """Micro-batch ``index``, the same bit for bit wherever it is made.

        Raises:
            TooManyBadSamples: A position and all its replacements are unreadable.
        """
        positions = index * self._micro_batch + np.arange(self._micro_batch)
        samples = self._plan.samples(positions)
        skipped: list[Skipped] = []
        with _one_thread():
            global_crops, local_crops = self._crops(self._images(positions, samples, skipped), positions)
        masks = self._masks.masks(positions)  # [2*B, N]
        return Batch(
            global_crops=global_crops,
            local_crops=local_crops,
            masks=torch.from_numpy(masks),
            masked_rows=torch.from_numpy(np.flatnonzero(masks)),
            positions=torch.from_numpy(positions),
            samples=torch.from_numpy(samples),
            global_batch=self._masks.global_batch,
            seed=int(derive_key(self._seed, Stream.STUDENT, positions[0]) >> np.uint64(1)),  # fits an int64
            skipped=tuple(skipped),
        )

    def _images(self, positions: Ints, samples: Ints, skipped: list[Skipped]) -> Iterator[Tensor]:
        """Read one image a position; note in ``samples`` what was used, and in ``skipped`` what could not be."""
        for index, position in enumerate(positions.tolist()):
            samples[index], image = self._read(position, int(samples[index]), skipped)
            yield image

    def _read(self, position: int, sample: int, skipped: list[Skipped]) -> tuple[int, Tensor]:
        for attempt in range(ATTEMPTS):
            try:
                return sample, self._source.read(sample).image
            except BadSample as bad:
                skipped.append(Skipped(bad.key, bad.reason))
                sample = self._plan.replacement(position, attempt)
        names = ", ".join(f"{bad.key} ({bad.reason})" for bad in skipped[-3:])
        raise TooManyBadSamples(
            f"{self._source.location}: {ATTEMPTS} samples in a row are unreadable, the last of them {names}. "
            "Check that these are images."
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread, as in a worker: sums split over threads round differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
