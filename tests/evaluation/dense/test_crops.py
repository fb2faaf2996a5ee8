"""Crops as a source."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from franca.data.sample import Sample, Source
from franca.evaluation.dense.crops import CropSource, covering_size


@dataclass(frozen=True)
class Ramps:
    """Images of different sizes whose mask is what their pixels hold, so that both must move together."""

    known: bool = True
    kind = "ramps"
    location = "ramps"
    class_names = None
    mask_names = tuple(f"c{index}" for index in range(200))
    group_sizes = (4,)

    def __len__(self) -> int:
        return 4

    def read(self, index: int) -> Sample:
        height, width = ((20, 33), (40, 25), (16, 16), (12, 50))[index]
        ramp = torch.arange(width).expand(height, -1) + 2 * torch.arange(height)[:, None]
        image = ramp.to(torch.uint8).expand(3, -1, -1).contiguous()
        return Sample(f"ramp {index}", image, mask=image[0])

    def content(self) -> str | None:
        return "ramps" if self.known else None


def test_image_and_mask_move_together() -> None:
    source: Source = CropSource(Ramps(), (16, 16), (0.7, 1.6), flip=True, fill=(255, 255, 255))
    for index in range(4):
        sample = source.read(index)
        assert sample.mask is not None
        assert sample.image.shape == (3, 16, 16) and sample.mask.shape == (16, 16)
        inside = sample.mask != 255
        assert inside.any()
        difference = (sample.image[0].int() - sample.mask.int()).abs()[inside]
        assert difference.float().mean() < 3  # one is smooth, the other takes nearest pixels


def test_epochs_and_seeds_draw_other_crops_and_repeat_theirs() -> None:
    def crop(**settings: int) -> torch.Tensor:
        return CropSource(Ramps(), (8, 8), (1.5, 1.5), **settings).read(1).image  # type: ignore[arg-type]

    assert torch.equal(crop(seed=1, epoch=2), crop(seed=1, epoch=2))
    assert not torch.equal(crop(seed=1, epoch=2), crop(seed=1, epoch=3))
    assert not torch.equal(crop(seed=1, epoch=2), crop(seed=2, epoch=2))


def test_corners_reach_every_place() -> None:
    lefts = {int(CropSource(Ramps(), (12, 12), epoch=epoch).read(3).image[0, 0, 0]) for epoch in range(400)}
    assert lefts == set(range(39))  # 50 - 12 + 1 places, the ramp rises by 1 a column


def test_what_is_missing_is_filled_and_ignored() -> None:
    sample = CropSource(Ramps(), (16, 16), (0.5, 0.5), fill=(9, 8, 7)).read(2)
    assert sample.mask is not None
    assert (sample.mask == 255).sum() == 16 * 16 - 8 * 8
    assert sample.image[:, 15, 15].tolist() == [9, 8, 7]


def test_half_of_the_crops_are_flipped() -> None:
    crops = [CropSource(Ramps(), (16, 16), flip=True, epoch=epoch).read(2).image[0, 0] for epoch in range(60)]
    falling = sum(int(row[0] > row[-1]) for row in crops)
    assert 15 < falling < 45


@pytest.mark.parametrize("shape", [(20, 33), (33, 20), (16, 16), (7, 100)])
def test_covering(shape: tuple[int, int]) -> None:
    height, width = covering_size(shape, (16, 24))
    assert height >= 16 and width >= 24 and (height == 16 or width == 24)
    assert height / width == pytest.approx(shape[0] / shape[1], rel=0.05)


def test_content_tells_crops_apart() -> None:
    one, same, other = (CropSource(Ramps(), (8, 8), epoch=epoch).content() for epoch in (0, 0, 1))
    assert one == same != other
    assert CropSource(Ramps(known=False), (8, 8)).content() is None
