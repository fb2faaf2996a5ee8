"""Bring images of any size to whole patches."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from franca.errors import ConfigError


def fit_images(images: Tensor, patch_size_px: int, policy: str) -> Tensor:
    """Bring height and width to multiples of the patch; images that have them already are returned as they are.

    Args:
        images: [B, C, H, W], normalised, H and W at least 1.
        patch_size_px: height and width of a patch, in pixels.
        policy: ``pad`` adds zeros, which is the mean colour, at the bottom and right; ``crop`` drops what is over
            there; with both, patch (i, j) covers the pixels that it covers without them. ``resize`` goes bicubically,
            antialiased, to the nearest multiple, up where two are as near. ``error`` leaves wrong sizes to whoever
            cuts the patches.

    Returns:
        [B, C, H', W']; with ``crop`` a side below one patch becomes 0, and ``error`` changes nothing.

    Raises:
        ConfigError: for another policy, with the known ones.
    """
    if policy not in SIZE_POLICIES:
        raise ConfigError(f"Unknown size_policy {policy!r}. Choose one of: {', '.join(SIZE_POLICIES)}.")
    height, width = images.shape[2:]
    if height % patch_size_px == 0 and width % patch_size_px == 0:
        return images
    return _FIT[policy](images, patch_size_px)


def _pad(images: Tensor, patch_size_px: int) -> Tensor:
    height, width = images.shape[2:]
    return F.pad(images, (0, -width % patch_size_px, 0, -height % patch_size_px))


def _resize(images: Tensor, patch_size_px: int) -> Tensor:
    rows, columns = (max((side + patch_size_px // 2) // patch_size_px, 1) for side in images.shape[2:])
    size = (rows * patch_size_px, columns * patch_size_px)
    resized = F.interpolate(images.float(), size=size, mode="bicubic", antialias=True)  # half precision has no kernel
    return resized.to(images.dtype)


def _crop(images: Tensor, patch_size_px: int) -> Tensor:
    height, width = (side - side % patch_size_px for side in images.shape[2:])
    return images[..., :height, :width]


def _leave(images: Tensor, patch_size_px: int) -> Tensor:
    return images


_FIT: dict[str, Callable[[Tensor, int], Tensor]] = {"pad": _pad, "resize": _resize, "crop": _crop, "error": _leave}
SIZE_POLICIES = tuple(_FIT)
