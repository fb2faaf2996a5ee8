"""A model and plain images on which probes are trained on random crops."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from franca.data.sample import BadSample, Sample
from franca.evaluation.linear import LinearSettings, judge_subject, wanted
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject
from franca.features.model import FeatureModel
from franca.features.settings import FeatureSettings

FEATURES = FeatureSettings(image_size_px=8, workers=0, device="cpu", precision="fp32", batch_size=16, cache=False)


class MeanColour(nn.Module):
    """The simplest model that can be judged."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


@dataclass
class Colours:
    """Noisy images, each class in a colour of its own; one of them cannot be read."""

    count: int
    first: int = 0
    bad: int | None = None
    class_names: tuple[str, ...] = ("red", "green", "blue")
    kind: str = "folder"
    location: str = "colours"
    reads: list[int] = field(default_factory=list)

    @property
    def group_sizes(self) -> tuple[int, ...]:
        return (self.count,)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Sample:
        self.reads.append(index)
        if index == self.bad:
            raise BadSample(str(index), "truncated")
        generator = torch.Generator().manual_seed(self.first + index)
        image = torch.randint(200, (3, 20, 16), dtype=torch.uint8, generator=generator)
        image[index % 3] += 30
        return Sample(str(index), image, index % 3)


def subject(settings: LinearSettings, train: Colours, val: Colours) -> Subject:
    """The model with these images."""
    return Subject(
        model=FeatureModel(MeanColour()),
        sources={"train": train, "val": val},
        wanted=wanted(settings),
        features=FEATURES,
        device=torch.device("cpu"),
    )


def cropped(settings: LinearSettings) -> Result:
    """What linear probes find on 48 and 24 such images."""
    return judge_subject(subject(settings, Colours(48, bad=5), Colours(24, first=1000)), settings)
