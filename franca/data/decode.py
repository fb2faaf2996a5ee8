"""Bytes of an image file to a tensor, whatever the bytes are."""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from franca.data.sample import BadSample

_FORMATS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
EXTENSIONS = tuple(_FORMATS)
FORMATS = tuple(dict.fromkeys(_FORMATS.values()))  # any of these under any of the endings, and nothing else

EMPTY = "empty"
NOT_AN_IMAGE = "not_an_image"
TRUNCATED = "truncated"
DAMAGED = "damaged"
TOO_LARGE = "too_large"
UNREADABLE = "unreadable"  # the bytes could not be had at all
REASONS = (EMPTY, NOT_AN_IMAGE, TRUNCATED, DAMAGED, TOO_LARGE, UNREADABLE)

MAX_PIXELS = 1 << 26  # 67 million: a file of a few kilobytes may hold so many, and each takes up to 18 bytes on the way
MAX_PIXELS_OF_JPEG = 1 << 27  # 134 million: cameras make them, and most crops need far fewer
_MAX_BYTES = 1 << 29
_ROWS = 256  # of deep grey that become 8 bits at a time
REDUCTIONS = (2, 4, 8)  # how many times smaller a JPEG can be decoded

_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # orientations that swap height and width


@dataclass(frozen=True)
class Picture:
    """A decoded image, and how large it is in its file."""

    pixels: Tensor  # [3, h, w] uint8, the whole image in no more pixels than the file has
    height: int
    width: int

    @classmethod
    def whole(cls, pixels: Tensor) -> Picture:
        """A picture with all its pixels."""
        return cls(pixels, pixels.shape[1], pixels.shape[2])


def decode(data: bytes, key: str) -> Tensor:
    """Decodes an image file to RGB, upright by its EXIF orientation.

    Grey, palette, CMYK and 1-bit images become RGB, transparency is laid on white, more than 8 bits become 8,
    an animation gives its first frame, and a file that was gzipped under its image name is unpacked first.

    Args:
        data: The file's bytes.
        key: Names the sample in the error.

    Returns:
        Image [3, H, W] uint8; channels lie last in memory, as resizing likes it.

    Raises:
        BadSample: These bytes hold no usable image; the reason is one of `REASONS`.
    """
    return decode_reduced(data, key, lambda height, width: 1).pixels


def decode_reduced(data: bytes, key: str, reduction: Callable[[int, int], int]) -> Picture:
    """Decodes an image file as `decode` does, and a JPEG at reduced size, which spares most of the work.

    Args:
        data: The file's bytes.
        key: Names the sample in the error.
        reduction: Given height and width of the upright image, how many times smaller it may become: 1 or one of
            `REDUCTIONS`. Asked only where the format can be reduced.

    Raises:
        BadSample: These bytes hold no usable image; the reason is one of `REASONS`.
    """
    if not data:
        raise BadSample(key, EMPTY)
    try:
        with without_remarks(), Image.open(io.BytesIO(_unpacked(data, key)), formats=FORMATS) as image:
            jpeg = image if isinstance(image, JpegImageFile) else None
            if image.width * image.height > (MAX_PIXELS_OF_JPEG if jpeg else MAX_PIXELS):
                raise BadSample(key, TOO_LARGE)
            full_size = _reduce(jpeg, reduction) if jpeg else None
            image.load()  # before EXIF is read: that loads as well, and would hide damaged pixels
            pixels = np.array(_rgb(_upright(image)))  # [h, w, 3]
    except (BadSample, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadSample(key, NOT_AN_IMAGE) from error
    except Image.DecompressionBombError as error:
        raise BadSample(key, TOO_LARGE) from error
    except Exception as error:  # damaged bytes raise almost anything, in a different way in every format
        raise BadSample(key, TRUNCATED if "truncated" in str(error).lower() else DAMAGED) from error
    return Picture(torch.from_numpy(pixels).permute(2, 0, 1), *(full_size or pixels.shape[:2]))  # [3, h, w]


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keeps off the screen what Pillow says of odd files: what matters of it becomes the reason of a bad sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reduce(image: JpegImageFile, reduction: Callable[[int, int], int]) -> tuple[int, int]:
    """Choose the size that a JPEG will be decoded at; its full height and width, upright."""
    full_size = (image.width, image.height) if _orientation(image) in _LYING else (image.height, image.width)
    factor = reduction(*full_size)
    if factor > 1:
        image.draft(image.mode, (image.width // factor, image.height // factor))
    return full_size


def _unpacked(data: bytes, key: str) -> bytes:
    """The bytes themselves, or what they hold where they are gzip: ImageNet-21K has such files."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    stream = zlib.decompressobj(wbits=31)
    unpacked = stream.decompress(data, _MAX_BYTES)
    if stream.unconsumed_tail:
        raise BadSample(key, TOO_LARGE)
    if not stream.eof:
        raise BadSample(key, TRUNCATED)
    return unpacked


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return None


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")  # converting RGB to RGB would copy it


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Deep grey to 8 bits: 16-bit whole numbers by their full range, others by the range they use.

    Raises:
        ValueError: a pixel is infinite or not a number.
    """
    values = np.asarray(image)  # [H, W]
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(high - low):
        raise ValueError("pixels that are not finite")
    if image.mode != "F" and low >= 0 and high < 1 << 16:
        low, high = 0.0, float((1 << 16) - 1)
    scale = 255.0 / max(high - low, 1e-12)
    small = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _ROWS):
        rows = slice(top, top + _ROWS)
        small[rows] = np.rint((values[rows].astype(np.float64) - low) * scale)
    return Image.fromarray(small)
