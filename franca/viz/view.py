"""A model and the images it is shown, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from franca.data.sample import BadSample, Source
from franca.data.subset import evenly_spaced
from franca.errors import ConfigError, DataError
from franca.evaluation.subject import Progress
from franca.features.job import Job
from franca.features.model import ImageFeatures
from franca.viz.images import brought


@dataclass(frozen=True)
class Shown:
    """An image as the model sees it."""

    key: str  # names it within its source
    place: int  # in its source
    image: Tensor  # [3, H, W] uint8


@dataclass(frozen=True)
class View:
    """Some images of a source, each by itself, so that they may differ in size.

    Args:
        job: The model, the source and the size.
        num_images: How many, spread evenly; None takes all.
        fit: See `franca.viz.images.brought`.
        progress: Called after every image.
    """

    job: Job
    num_images: int | None
    fit: str
    progress: Progress

    @property
    def source(self) -> Source:
        """Where the images come from."""
        return self.job.source

    def shown(self) -> Iterator[Shown]:
        """The images; those that cannot be read are left out.

        Raises:
            DataError: None can be read.
        """
        places = evenly_spaced(len(self.source), self.num_images)
        problems: list[str] = []
        for number, place in enumerate(places):
            try:
                sample = self.source.read(place)
            except BadSample as bad:
                problems.append(str(bad))
            else:
                size_px, patch_px = self.job.size_px, self.job.model.patch_size_px
                yield Shown(sample.key, place, brought(sample.image, size_px, self.fit, patch_px))
            self.progress("images", number + 1, len(places))
        if len(problems) == len(places):
            raise DataError(f"{self.source.location}: no image could be read ({'; '.join(problems[:3])})")

    def features(self, shown: Shown) -> ImageFeatures:
        """Features of one image, B = 1."""
        return self.job.features(shown.image[None])

    def patches(self, shown: Shown) -> Tensor:
        """Patch features [h, w, D] of one image, float32 on the CPU.

        Raises:
            ConfigError: The model has none.
        """
        patches = self.features(shown).patches
        if patches is None:
            raise no_patches(self.job.model.name)
        return patches[0].float().cpu()


def no_patches(model: str) -> ConfigError:
    """What to raise for a model that only maps images to embeddings."""
    return ConfigError(
        f"{model} gives no patch features, only one embedding an image; expected a vision transformer or another model "
        "with a map of features. franca viz neighbours MODEL SRC OUT point=none draws what embeddings alone can tell"
    )
