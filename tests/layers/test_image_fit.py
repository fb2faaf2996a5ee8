from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from franca.errors import ConfigError
from franca.layers.image_fit import SIZE_POLICIES, fit_images


@pytest.mark.parametrize("policy", SIZE_POLICIES)
def test_whole_patches_are_left_alone(policy: str) -> None:
    images = torch.randn(2, 3, 28, 42)
    assert fit_images(images, 14, policy) is images


def test_pad_adds_zeros_at_the_bottom_and_right() -> None:
    images = torch.randn(2, 3, 15, 40)
    fitted = fit_images(images, 14, "pad")
    assert fitted.shape == (2, 3, 28, 42)
    assert torch.equal(fitted[..., :15, :40], images)
    assert fitted.count_nonzero() == images.count_nonzero()


def test_crop_keeps_the_top_left() -> None:
    images = torch.randn(2, 3, 27, 43)
    assert torch.equal(fit_images(images, 14, "crop"), images[..., :14, :42])


@pytest.mark.parametrize(
    ("size", "expected"), [((15, 40), (14, 42)), ((20, 21), (14, 28)), ((3, 100), (14, 98)), ((14, 15), (14, 14))]
)
def test_resize_goes_to_the_nearest_multiple(size: tuple[int, int], expected: tuple[int, int]) -> None:
    images = torch.randn(1, 2, *size)
    fitted = fit_images(images, 14, "resize")
    assert fitted.shape[2:] == expected
    torch.testing.assert_close(fitted, F.interpolate(images, expected, mode="bicubic", antialias=True))


def test_resize_does_not_swap_height_and_width() -> None:
    """A picture that changes from row to row alone does so afterwards."""
    ramp = torch.arange(30.0)[:, None].expand(1, 1, 30, 50)
    fitted = fit_images(ramp, 14, "resize")
    assert fitted.shape == (1, 1, 28, 56)
    assert (fitted - fitted[..., :1]).abs().max() < 1e-4
    assert (fitted[0, 0, 1:, 0] > fitted[0, 0, :-1, 0]).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    for policy in ("pad", "resize", "crop"):
        assert fit_images(torch.randn(1, 3, 15, 20).to(dtype), 14, policy).dtype == dtype


@pytest.mark.parametrize(("policy", "expected"), [("pad", (14, 14)), ("resize", (14, 14)), ("crop", (0, 0))])
def test_images_below_one_patch(policy: str, expected: tuple[int, int]) -> None:
    assert fit_images(torch.ones(1, 3, 5, 9), 14, policy).shape[2:] == expected


def test_unknown_policies_list_the_known_even_for_whole_patches() -> None:
    with pytest.raises(ConfigError, match=r"'stretch'.*pad, resize, crop, error"):
        fit_images(torch.zeros(1, 3, 14, 14), 14, "stretch")
