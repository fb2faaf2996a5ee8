from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from franca.data import finish as module
from franca.data.color import ColorDraw, ColorRecipe, recolor
from franca.data.finish import finish

RECIPE = ColorRecipe(jitter=0.8, grayscale=0.2, blur=0.5, solarize=0.2)
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]


def crops_and_draws(num: int = 20, size: int = 24) -> tuple[Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num, 3, size, size), dtype=torch.uint8, generator=generator)
    return pixels, np.random.default_rng(0).random((num, len(ColorDraw)))


def finished(pixels: Tensor, draws: np.ndarray, recipe: ColorRecipe = RECIPE) -> Tensor:
    out = torch.full(pixels.shape, torch.nan, device=pixels.device)
    finish(pixels, draws, recipe, mean=MEAN, std=STD, out=out)
    return out


def test_each_crop_is_recoloured_by_its_own_draws_and_normalised() -> None:
    pixels, draws = crops_and_draws()
    expected = []
    for crop, row in zip(pixels, draws, strict=True):
        (colored,) = recolor(crop[None] / 255, row[None], RECIPE)
        expected.append((colored - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])
    torch.testing.assert_close(finished(pixels, draws), torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("crops_at_once", [1, 3, 100])
def test_how_many_are_changed_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch, crops_at_once: int) -> None:
    pixels, draws = crops_and_draws()
    expected = finished(pixels, draws)
    monkeypatch.setattr(module, "_CHUNK_VALUES", {"cpu": crops_at_once * pixels[0].numel()})
    torch.testing.assert_close(finished(pixels, draws), expected, atol=1e-5, rtol=0)


def test_bytes_are_left_alone() -> None:
    pixels, draws = crops_and_draws()
    before = pixels.clone()
    finished(pixels, draws)
    assert torch.equal(pixels, before)


def test_no_crops() -> None:
    pixels, draws = crops_and_draws(num=0)
    assert finished(pixels, draws).shape == (0, 3, 24, 24)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("size", [24, 98, 224])
def test_a_gpu_gives_what_the_cpu_gives(size: int) -> None:
    pixels, draws = crops_and_draws(size=size)
    found = finished(pixels.cuda(), draws).cpu()
    # A hue that lies between two channels may fall to either side; everything else is rounding.
    difference = (found - finished(pixels, draws)).abs()
    assert difference.max() < 1e-3
    assert difference.mean() < 1e-5
