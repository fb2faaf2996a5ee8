from __future__ import annotations

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop

from franca.config.schema import DataConfig, SyntheticConfig
from franca.data import augment
from franca.data.augment import TRIES, MultiCrop, crop_box
from franca.data.decode import REDUCTIONS, Picture, decode, decode_reduced
from franca.data.synthetic import SyntheticSource

PLAIN = DataConfig(
    global_size_px=40, local_size_px=24, num_local_crops=3, color_jitter=0, grayscale=0, solarize=0, flip=0,
    mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0],
)  # fmt: skip
FULL = replace(
    PLAIN, color_jitter=0.8, grayscale=0.2, solarize=0.2, flip=0.5, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4]
)


@pytest.fixture
def no_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "BLUR_PROBABILITIES", (0.0, 0.0, 0.0))


def random_images(num: int, *, height: int = 64, width: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator) for _ in range(num)]


def boxes(num: int, height: int, width: int, scale: tuple[float, float]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([crop_box(height, width, scale, rng.random(2 * TRIES + 2).tolist()) for _ in range(num)])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 120), (333, 97), (30, 200), (1, 1), (3, 1000)])
@pytest.mark.parametrize("scale", [(0.32, 1.0), (0.05, 0.32)])
def test_boxes_fit_and_are_spread_as_torchvisions(height: int, width: int, scale: tuple[float, float]) -> None:
    ours = boxes(1000, height, width, scale)
    top, left, box_height, box_width = ours.T
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] > 0).all()
    assert (top + box_height <= height).all()
    assert (left + box_width <= width).all()
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(1000)])
    for mine, reference in zip(ours.T, theirs.T, strict=True):
        error = 5 * np.sqrt((mine.var() + reference.var()) / 1000) + 1e-9
        assert abs(mine.mean() - reference.mean()) < error
        assert abs(np.quantile(mine, 0.9) - np.quantile(reference, 0.9)) <= 0.1 * max(height, width)


@pytest.mark.parametrize("size", [(10, 100), (100, 10), (1, 7), (9, 9)])
def test_where_no_try_fits_the_middle_is_taken_as_torchvision_does(size: tuple[int, int]) -> None:
    ours = crop_box(*size, (4.0, 4.0), [0.5] * (2 * TRIES + 2))  # four times the image's area never fits
    assert ours == RandomResizedCrop.get_params(torch.empty(3, *size), [4.0, 4.0], [3 / 4, 4 / 3])


def test_crops_equal_torchvisions(no_blur: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: list[tuple[int, ...]] = []

    def remember(*arguments: object) -> tuple[int, ...]:
        cuts.append(crop_box(*arguments))  # type: ignore[arg-type]
        return cuts[-1]

    monkeypatch.setattr(augment, "crop_box", remember)
    images = [*random_images(2), *random_images(2, height=50, width=90)]
    large, small = MultiCrop(PLAIN, seed=0)(images, np.arange(4))
    assert large.shape == (8, 3, 40, 40)
    assert small.shape == (12, 3, 24, 24)
    for index, image in enumerate(images):
        ours = [*large[index::4], *small[index::4]]
        for crop, box in zip(ours, cuts[5 * index : 5 * index + 5], strict=True):
            expected = resized_crop(image, *box, list(crop.shape[1:]), InterpolationMode.BICUBIC, antialias=True)
            assert torch.equal((crop * 255).round().to(torch.uint8), expected)


def test_global_and_local_crops_cover_their_shares(no_blur: None) -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64)  # column number as grey
    large, small = MultiCrop(PLAIN, seed=0)([ramp] * 200, np.arange(200))
    spans = [(crops.amax((1, 2, 3)) - crops.amin((1, 2, 3))) * 255 / 64 for crops in (large, small)]
    assert spans[0].min() > 0.4  # of the width; the square root of 0.32 x 3/4 is 0.49
    assert spans[1].max() < 0.7  # the square root of 0.32 x 4/3 is 0.65
    assert spans[1].min() < 0.3


def test_flips_half_of_the_crops(no_blur: None) -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64)
    large, small = MultiCrop(replace(PLAIN, flip=0.5), seed=0)([ramp] * 400, np.arange(400))
    for crops in (large[:400], large[400:], small[:400], small[400:800]):
        flipped = (crops[:, 0, 0, 0] > crops[:, 0, 0, -1]).float().mean()
        assert abs(flipped - 0.5) < 0.125  # five standard deviations


def test_normalises() -> None:
    image = torch.tensor([10, 100, 200], dtype=torch.uint8)[:, None, None].expand(3, 64, 64)
    config = replace(PLAIN, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
    large, _ = MultiCrop(config, seed=0)([image], np.arange(1))
    expected = (torch.tensor([10, 100, 200]) / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.3, 0.4])
    torch.testing.assert_close(large.mean((0, 2, 3)), expected, atol=1e-5, rtol=0)


def test_a_position_has_its_crops_whatever_the_batch() -> None:
    images = random_images(8)
    whole = MultiCrop(FULL, seed=5)(images, np.arange(100, 108))
    parts = [MultiCrop(FULL, seed=5)(images[i : i + 2], np.arange(100 + i, 102 + i)) for i in range(0, 8, 2)]
    for group, views in enumerate((2, 3)):
        joined = torch.cat([part[group].unflatten(0, (views, 2)) for part in parts], dim=1).flatten(0, 1)
        torch.testing.assert_close(whole[group], joined, atol=1e-5, rtol=0)


def test_positions_views_and_seeds_differ() -> None:
    image = random_images(1) * 2
    large, small = MultiCrop(FULL, seed=0)(image, np.arange(2))
    other, _ = MultiCrop(FULL, seed=1)(image, np.arange(2))
    assert len({tuple(crop[0, 0, :8].tolist()) for crop in (*large, *other)}) == 8
    assert len({tuple(crop[0, 0, :8].tolist()) for crop in small}) == 6


def test_channel_layout_in_memory_does_not_matter() -> None:
    image = random_images(1)[0]
    interleaved = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    crops = [MultiCrop(FULL, seed=0)([layout], np.arange(1))[0] for layout in (image, interleaved)]
    assert torch.equal(crops[0], crops[1])


def test_no_local_crops() -> None:
    large, small = MultiCrop(replace(FULL, num_local_crops=0), seed=0)(random_images(3), np.arange(3))
    assert large.shape == (6, 3, 40, 40)
    assert small.shape == (0, 3, 24, 24)


@pytest.mark.parametrize(("blur", "expected"), [("intended", (1.0, 0.1, 0.5)), ("inverted", (0.0, 0.9, 0.5))])
def test_blur_is_as_often_as_meant_or_inverted(blur: str, expected: tuple[float, float, float]) -> None:
    config = replace(PLAIN, blur=blur, global_scale=[1.0, 1.0], local_scale=[1.0, 1.0])
    noise = random_images(1, height=60, width=60) * 400
    large, small = MultiCrop(config, seed=0)(noise, np.arange(400))
    views = (large[:400], large[400:], small[:400])
    # Noise keeps its contrast between neighbours unless it is blurred by a sigma that is not tiny.
    for view, probability in zip(views, expected, strict=True):
        contrast = view.diff(dim=-1).abs().mean((1, 2, 3))
        sharp = (contrast > 0.9 * contrast.max()).float().mean().item()
        assert abs(sharp - (1 - 0.9 * probability)) < 0.1


def test_solarises_only_the_second_global_crop(no_blur: None) -> None:
    white = torch.full((3, 64, 64), 255, dtype=torch.uint8)
    large, small = MultiCrop(replace(PLAIN, solarize=0.2), seed=0)([white] * 500, np.arange(500))
    dark = [(crops.mean((1, 2, 3)) < 0.5).float().mean().item() for crops in (large[:500], large[500:], small)]
    assert dark[0] == dark[2] == 0
    assert abs(dark[1] - 0.2) < 0.09


def drawn_jpegs(num: int, size_px: int) -> list[bytes]:
    source = SyntheticSource(SyntheticConfig(num_images=num, size_px=size_px), "train")
    files = []
    for index in range(num):
        buffer = io.BytesIO()
        Image.fromarray(source.read(index).image.permute(1, 2, 0).numpy()).save(buffer, "jpeg", quality=92)
        files.append(buffer.getvalue())
    return files


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 1000))
def test_a_reduction_leaves_every_view_the_pixels_it_needs(height: int, width: int, position: int) -> None:
    crops = MultiCrop(PLAIN, seed=0)
    draws = crops.draws(np.array([position]))[:, 0]
    factor = crops.reduction(height, width, draws)
    sizes = [PLAIN.global_size_px] * 2 + [PLAIN.local_size_px] * PLAIN.num_local_crops
    scales = [PLAIN.global_scale] * 2 + [PLAIN.local_scale] * PLAIN.num_local_crops
    spare = min(
        min(crop_box(height, width, (scale[0], scale[1]), numbers[: 2 * TRIES + 2].tolist())[2:]) / size
        for size, scale, numbers in zip(sizes, scales, draws, strict=True)
    )
    assert factor == max((one for one in (1, *REDUCTIONS) if one <= spare), default=1)


WHOLE = replace(PLAIN, global_scale=[1.0, 1.0], local_scale=[1.0, 1.0])  # boxes that lie alike at every size


@pytest.mark.parametrize(
    ("config", "size_px", "factor", "largest", "mean"),
    [(WHOLE, 320, 8, 4, 3), (WHOLE, 192, 4, 4, 2), (PLAIN, 448, 4, 8, 3), (PLAIN, 256, 2, 8, 3)],
)
def test_crops_of_a_reduced_jpeg_are_those_of_the_full_one(
    no_blur: None, config: DataConfig, size_px: int, factor: int, largest: float, mean: float
) -> None:
    """The stated error, in 255ths, of a crop and on average; boxes move by up to half a pixel of the reduced image."""
    crops, positions = MultiCrop(config, seed=0), np.arange(8)
    draws = crops.draws(positions)
    reduced, whole = [], []
    for index, file in enumerate(drawn_jpegs(8, size_px)):
        reduced.append(decode_reduced(file, "", partial(crops.reduction, draws=draws[:, index])))
        whole.append(Picture.whole(decode(file, "")))
    assert factor in {picture.width // picture.pixels.shape[2] for picture in reduced}
    others = [whole[-1], *whole[:-1]]
    small, full, other = (crops.cut(pictures, draws) for pictures in (reduced, whole, others))
    for found, expected, wrong in zip(small, full, other, strict=True):
        error = (found.float() - expected.float()).abs().mean((2, 3, 4))
        assert error.max() < largest
        assert error.mean() < mean
        assert (wrong.float() - expected.float()).abs().mean() > 10 * mean


def test_boxes_on_reduced_images_stay_inside() -> None:
    crops, positions = MultiCrop(PLAIN, seed=0), np.arange(50)
    draws = crops.draws(positions)
    pictures = [Picture(torch.zeros(3, 23, 41, dtype=torch.uint8), 181, 325)] * 50
    large, small = crops.cut(pictures, draws)
    assert large.shape == (2, 50, 3, 40, 40) and small.shape == (3, 50, 3, 24, 24)


def reference_views() -> list[transforms.Compose]:
    """Global 1, global 2 and local, put together from torchvision's classes as the DINOv2 paper describes them."""
    colors = [
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
        transforms.RandomGrayscale(0.2),
    ]
    kinds = [
        (PLAIN.global_size_px, PLAIN.global_scale, 1.0, 0.0),
        (PLAIN.global_size_px, PLAIN.global_scale, 0.1, 0.2),
        (PLAIN.local_size_px, PLAIN.local_scale, 0.5, 0.0),
    ]
    return [
        transforms.Compose(
            [
                transforms.RandomResizedCrop(size, scale, interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(),
                *colors,
                transforms.RandomApply([transforms.GaussianBlur(9, (0.1, 2.0))], p=blur),
                transforms.RandomSolarize(128, solarize),
                transforms.ToTensor(),
            ]
        )
        for size, scale, blur, solarize in kinds
    ]


def statistics(crops: Tensor) -> Tensor:
    """Per crop: mean and spread of each channel, a histogram, detail along and across, colourfulness."""
    bins = (crops * 255).round().div(32).floor()
    return torch.cat(
        [
            crops.mean((2, 3)),
            crops.std((2, 3)),
            torch.stack([(bins == bin).float().mean((1, 2, 3)) for bin in range(8)], dim=1),
            crops.diff(dim=-1).abs().mean((1, 2, 3))[:, None],
            crops.diff(dim=-2).abs().mean((1, 2, 3))[:, None],
            (crops.amax(1) - crops.amin(1)).mean((1, 2))[:, None],
        ],
        dim=1,
    )


def test_crops_of_jpegs_are_spread_as_torchvisions() -> None:
    files, draws_per_file = drawn_jpegs(6, 256), 100
    crops = MultiCrop(replace(PLAIN, color_jitter=0.8, grayscale=0.2, solarize=0.2, flip=0.5), seed=0)
    draws = crops.draws(np.arange(len(files) * draws_per_file))
    pictures = [
        decode_reduced(files[index % len(files)], "", partial(crops.reduction, draws=draws[:, index]))
        for index in range(draws.shape[1])
    ]
    assert sum(picture.width > picture.pixels.shape[2] for picture in pictures) > 0.9 * len(pictures)
    large, small = crops.finish(*crops.cut(pictures, draws), draws)
    ours = [large[: len(pictures)], large[len(pictures) :], small[: len(pictures)]]
    torch.manual_seed(0)
    images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    for mine, transform in zip(ours, reference_views(), strict=True):
        theirs = torch.stack([transform(image) for image in images for _ in range(draws_per_file)])
        found, expected = statistics(mine), statistics(theirs)
        noise = ((found.var(0) + expected.var(0)) / len(pictures)).sqrt()
        assert ((found.mean(0) - expected.mean(0)).abs() < 5 * noise + 0.004).all()
        assert ((found.std(0) - expected.std(0)).abs() < 0.25 * expected.std(0) + 0.004).all()
