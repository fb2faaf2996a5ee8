from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from franca.data import color
from franca.data.color import ColorDraw, ColorRecipe, recolor

ALWAYS = ColorRecipe(jitter=1, grayscale=1, blur=1, solarize=1)
NEVER = ColorRecipe(jitter=0, grayscale=0, blur=0, solarize=0)


def random_crops(num: int = 12, size: int = 40) -> Tensor:
    """Smooth colours, and among them greys, black, white, pure colours and ties between channels."""
    crops = torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(0))
    crops[0] = crops[0, :1]
    crops[1] = (crops[1] * 3).floor() / 2
    crops[2, 0] = crops[2, 1]
    crops[3, 2] = crops[3, 1]
    crops[4] = 0
    crops[5] = 1
    return crops.clamp(0, 1)


def one_by_one(crops: Tensor, operation: object, amounts: list[float]) -> Tensor:
    return torch.stack([operation(crop, amount) for crop, amount in zip(crops, amounts, strict=True)])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("ours", "theirs", "largest"),
    [
        (color.adjust_brightness, reference.adjust_brightness, 0.4),
        (color.adjust_contrast, reference.adjust_contrast, 0.4),
        (color.adjust_saturation, reference.adjust_saturation, 0.4),
    ],
)
def test_equals_torchvision_crop_by_crop(ours: object, theirs: object, largest: float) -> None:
    crops, change = random_crops(), torch.linspace(-largest, largest, 12)
    expected = one_by_one(crops, theirs, (1 + change).tolist())
    torch.testing.assert_close(ours(crops, change), expected, atol=1e-5, rtol=0)  # type: ignore[operator]


@pytest.mark.parametrize("largest", [0.1, 1 / 6])
def test_hue_equals_torchvision(largest: float) -> None:
    crops, change = random_crops(), torch.linspace(-largest, largest, 12)
    expected = one_by_one(crops, reference.adjust_hue, change.tolist())
    torch.testing.assert_close(color.adjust_hue(crops, change), expected, atol=1e-4, rtol=0)


def test_hue_turns_red_to_green_to_blue() -> None:
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 0.8
    green = color.adjust_hue(red, torch.tensor([1 / 3]))
    torch.testing.assert_close(green[0, :, 0, 0], torch.tensor([0, 0.8, 0]), atol=1e-5, rtol=0)
    blue = color.adjust_hue(red, torch.tensor([-1 / 3]))
    torch.testing.assert_close(blue[0, :, 0, 0], torch.tensor([0, 0, 0.8]), atol=1e-5, rtol=0)


def test_grayscale_equals_torchvision() -> None:
    crops = random_crops()
    torch.testing.assert_close(color.grayscale(crops), reference.rgb_to_grayscale(crops, 3), atol=1e-6, rtol=0)


def test_solarize_equals_torchvision() -> None:
    crops = random_crops()
    torch.testing.assert_close(color.solarize(crops), reference.solarize(crops, 0.5), atol=0, rtol=0)


@pytest.mark.parametrize("size", [8, 24, 41])
def test_blur_equals_torchvision(size: int) -> None:
    crops, sigma = random_crops(size=size), torch.linspace(0.1, 2, 12)
    expected = torch.stack(
        [reference.gaussian_blur(c, [9, 9], [s, s]) for c, s in zip(crops, sigma.tolist(), strict=True)]
    )
    torch.testing.assert_close(color.gaussian_blur(crops, sigma), expected, atol=1e-5, rtol=0)


def draws(**values: float) -> np.ndarray:
    """The draws of one crop; 0.5 leaves brightness, contrast, saturation and hue alone."""
    row = np.full((1, len(ColorDraw)), 0.5)
    for name, value in values.items():
        row[0, ColorDraw[name]] = value
    return row


def test_nothing_happens_at_probability_zero() -> None:
    crops = random_crops()
    before = crops.clone()
    found = recolor(crops, np.random.default_rng(0).random((12, len(ColorDraw))), NEVER)
    assert torch.equal(found, before)


def test_everything_in_order_by_hand() -> None:
    crops = random_crops(num=7)[6:]
    row = draws(ORDER=0, BRIGHTNESS=0.9, CONTRAST=0.1, SATURATION=0.8, HUE=0.3, SIGMA=0.5)
    expected = reference.adjust_brightness(crops[0], 1 + 0.8 * 0.4)
    expected = reference.adjust_contrast(expected, 1 - 0.8 * 0.4)
    expected = reference.adjust_saturation(expected, 1 + 0.6 * 0.2)
    expected = reference.adjust_hue(expected, -0.4 * 0.1)
    expected = reference.rgb_to_grayscale(expected, 3)
    expected = reference.gaussian_blur(expected, [9, 9], [1.05, 1.05])
    expected = reference.solarize(expected, 0.5)
    torch.testing.assert_close(recolor(crops, row, ALWAYS)[0], expected, atol=1e-4, rtol=0)


def test_the_order_of_jitters_is_drawn() -> None:
    results = []
    for order in np.arange(24) / 24 + 0.01:
        crops = random_crops(num=7)[6:]
        row = draws(ORDER=order, BRIGHTNESS=0.95, CONTRAST=0.95, SATURATION=0.95, HUE=0.95)
        results.append(recolor(crops, row, ColorRecipe(jitter=1, grayscale=0, blur=0, solarize=0)))
    pairs = [torch.equal(a, b) for i, a in enumerate(results) for b in results[:i]]
    assert sum(pairs) < 24 * 23 / 2 * 0.2  # few orders commute exactly


def test_a_crop_does_not_depend_on_its_companions() -> None:
    rows = np.random.default_rng(1).random((12, len(ColorDraw)))
    recipe = ColorRecipe(jitter=0.8, grayscale=0.2, blur=0.5, solarize=0.2)
    together = recolor(random_crops(), rows, recipe)
    alone = [recolor(crop[None], row[None], recipe) for crop, row in zip(random_crops(), rows, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


def test_values_stay_in_range() -> None:
    crops = random_crops()
    crops = recolor(crops, np.random.default_rng(2).random((12, len(ColorDraw))), ALWAYS)
    assert crops.min() >= 0
    assert crops.max() <= 1 + 1e-6


def test_probabilities_are_met() -> None:
    rows = np.random.default_rng(3).random((4000, len(ColorDraw)))
    for name in ("jitter", "grayscale", "blur", "solarize"):
        crops = torch.rand(1, 3, 8, 8).repeat(4000, 1, 1, 1)
        before = crops.clone()
        nothing = {"jitter": 0, "grayscale": 0, "blur": 0, "solarize": 0}
        crops = recolor(crops, rows, ColorRecipe(**(nothing | {name: 0.3})))
        share = (crops != before).flatten(1).any(1).float().mean().item()
        assert abs(share - 0.3) < 0.036  # five standard deviations
