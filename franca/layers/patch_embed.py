"""From pixels to patch tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from franca.errors import DataError
from franca.layers.image_fit import fit_images
from franca.layers.watched import may_read_weights


class PatchEmbed(nn.Module):
    """One linear map per non-overlapping patch.

    The weights have the shape of the convolution that this map is equal to, which is how the field stores them.

    Args:
        patch_size_px: height and width of a patch, in pixels.
        in_chans: channels of an image.
        width: D.
    """

    def __init__(self, patch_size_px: int, in_chans: int, width: int) -> None:
        super().__init__()
        self.patch_size_px = patch_size_px
        self.in_chans = in_chans
        self.proj = nn.Conv2d(in_chans, width, kernel_size=patch_size_px, stride=patch_size_px)

    def fit(self, images: Tensor, size_policy: str) -> Tensor:
        """Bring images to whole patches, see `franca.layers.image_fit.fit_images`.

        Raises:
            ConfigError: for an unknown policy.
            DataError: if the tensor is not a batch of images, or no whole patch is left.
        """
        self._check_shape(images)
        fitted = fit_images(images, self.patch_size_px, size_policy)
        if 0 in fitted.shape[2:] and 0 not in images.shape[2:]:
            height, width = images.shape[2:]
            raise DataError(
                f"Images of {height} x {width} pixels hold no whole patch of {self.patch_size_px} x "
                f"{self.patch_size_px}, so size_policy='crop' leaves nothing. Take size_policy='pad' or 'resize'."
            )
        return fitted

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches in images [B, C, H, W].

        Raises:
            DataError: if the images have another shape, or H or W is not a multiple of the patch.
        """
        self._check_shape(images)
        size = self.patch_size_px
        height, width = images.shape[2:]
        if height % size or width % size or not height or not width:
            raise DataError(
                f"Images of {height} x {width} pixels cannot be cut into patches of {size} x {size}: height and width "
                f"must be multiples of {size}. Resize or crop them, for example to "
                f"{max(height // size, 1) * size} x {max(width // size, 1) * size}, or give the "
                "backbone's forward or features size_policy='pad', 'resize' or 'crop'."
            )
        return height // size, width // size

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] to tokens [B, N, D], row by row."""
        size = self.patch_size_px
        rows, columns = self.grid(images)
        if not may_read_weights(self.proj, nn.Conv2d):
            maps: Tensor = self.proj(images)  # [B, D, h, w]
            return maps.flatten(2).transpose(1, 2)
        cut = images.reshape(-1, self.in_chans, rows, size, columns, size)
        patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # [B, N, C * size * size]
        # A matrix product is faster than the convolution on the CPU, in both directions.
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)  # [B, N, D]

    def _check_shape(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != self.in_chans:
            raise DataError(
                f"The backbone takes images [B, {self.in_chans}, H, W], but was given {list(images.shape)}. "
                "Add a batch dimension, or convert the channels."
            )
        if not images.is_floating_point():
            raise DataError(
                f"The backbone takes normalised floats, but was given {images.dtype}. Scale the images to [0, 1], "
                "subtract the mean and divide by the std that `preprocessing` of the backbone holds."
            )
