"""Windows over an image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from franca.evaluation.dense.windows import Windows


def colours(images: Tensor) -> list[Tensor]:
    """Two heads: mean colours of patches of 4 px, and their negatives."""
    means = avg_pool2d(images.float() / 32, 4)
    return [means, -means]


def image_of(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(256, (1, 3, 4, 5), generator=generator).float()
    return interpolate(small, size=(height, width), mode="bilinear")[0].to(torch.uint8)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 8), [(0, 0)]),
        ((8, 12), [(0, 0), (0, 4)]),
        ((8, 17), [(0, 0), (0, 4), (0, 8), (0, 9)]),
        ((9, 8), [(0, 0), (1, 0)]),
    ],
)
def test_corners(shape: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert Windows((8, 8)).corners(shape) == expected


@pytest.mark.parametrize("stride", [0.25, 0.5, 0.7, 1.0])
def test_every_pixel_lies_in_a_window_and_no_window_beyond(stride: float) -> None:
    for shape in ((16, 24), (17, 41), (33, 25)):
        seen = torch.zeros(shape)
        for top, left in Windows((16, 24), stride).corners(shape):
            assert top + 16 <= shape[0] and left + 24 <= shape[1]
            seen[top : top + 16, left : left + 24] += 1
        assert seen.min() >= 1


def test_overlaps_are_means() -> None:
    image = image_of(8, 12)
    found, _ = Windows((8, 8)).logits(image, colours)
    left, right = (
        interpolate(colours(image[None, :, :, at : at + 8])[0], size=(8, 8), mode="bilinear")[0] for at in (0, 4)
    )
    torch.testing.assert_close(found[:, :, :4], left[:, :, :4])
    torch.testing.assert_close(found[:, :, 4:8], (left[:, :, 4:] + right[:, :, :4]) / 2)
    torch.testing.assert_close(found[:, :, 8:], right[:, :, 4:])


def test_probabilities_have_the_size_of_the_mask_and_sum_to_one() -> None:
    found = Windows((8, 8), scales=(1.0, 1.32, 1.73)).probabilities(image_of(30, 50), colours, (33, 55))
    assert len(found) == 2 and found[0].shape == (3, 33, 55)
    torch.testing.assert_close(found[0].sum(0), torch.ones(33, 55))
    assert not torch.allclose(found[0], found[1])


def test_scales_are_averaged() -> None:
    image = image_of(30, 50)
    parts = [Windows((8, 8), scales=(scale,)).probabilities(image, colours, (30, 50))[0] for scale in (1.0, 2.0)]
    both = Windows((8, 8), scales=(1.0, 2.0)).probabilities(image, colours, (30, 50))[0]
    torch.testing.assert_close(both, (parts[0] + parts[1]) / 2)
    assert not torch.allclose(parts[0], parts[1], atol=1e-3)
