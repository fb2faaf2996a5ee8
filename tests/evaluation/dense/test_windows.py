"""Windows over an image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from franca.evaluation.dense import windows as module
from franca.evaluation.dense.crops import covering_size, scale_image
from franca.evaluation.dense.windows import Windows, enlarged_rows


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


def by_hand(windows: Windows, image: Tensor, size: tuple[int, int], head: int = 0) -> Tensor:
    """Probabilities [C, *size], all at once."""
    shares = []
    for scale in windows.scales:
        scaled = scale_image(image, covering_size(image.shape[1:], windows.size_px, scale))
        shares.append(
            interpolate(windows.logits(scaled, colours)[head][None], size=size, mode="bilinear")[0].softmax(0)
        )
    return torch.stack(shares).mean(0)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.32, 1.73)])
@pytest.mark.parametrize("size", [(33, 55), (12, 20)])
@pytest.mark.parametrize("most", [1, 900, 1 << 24])
def test_classes_are_the_most_probable(
    scales: tuple[float, ...], size: tuple[int, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PROBABILITIES", most)
    windows, image = Windows((8, 8), scales=scales), image_of(30, 50)
    for head, found in enumerate(windows.classes(image, colours, size)):
        expected = by_hand(windows, image, size, head)
        assert found.shape == size
        top = expected.topk(2, dim=0).values
        clear = top[0] - top[1] > 1e-5  # rounding may decide between equals
        assert clear.float().mean() > 0.9 and torch.equal(found[clear], expected.argmax(0)[clear])


def test_strips_are_rows_of_the_whole() -> None:
    logits = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    for size in ((13, 20), (3, 4)):
        whole = interpolate(logits[None], size=size, mode="bilinear")[0]
        strips = [enlarged_rows(logits, size, slice(first, first + 1)) for first in range(size[0])]
        torch.testing.assert_close(torch.cat(strips, dim=1), whole)
