"""Every kind of image becomes RGB, and every kind of damage is named."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from franca.data import decode as module
from franca.data.decode import EXTENSIONS, FORMATS, MAX_PIXELS, REASONS, Picture, decode, decode_reduced
from franca.data.sample import BadSample


def encoded(image: Image.Image, format: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixel(data: bytes) -> list[int]:
    """RGB of the top left pixel."""
    image = decode(data, "key")
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    return image[:, 0, 0].tolist()


def photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_lossless_image_keeps_its_values_and_axes() -> None:
    image = photo()
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(decode(encoded(image), "key"), expected)


def test_modes_become_rgb() -> None:
    size = (4, 3)
    assert pixel(encoded(Image.new("L", size, 200))) == [200, 200, 200]
    assert pixel(encoded(Image.new("1", size, 1))) == [255, 255, 255]
    assert pixel(encoded(Image.new("RGB", size, (10, 20, 30)).quantize(2))) == [10, 20, 30]
    assert pixel(encoded(Image.new("CMYK", size, (0, 255, 255, 0)), "tiff")) == [255, 0, 0]


def test_transparency_is_laid_on_white() -> None:
    size = (4, 3)
    assert pixel(encoded(Image.new("RGBA", size, (0, 0, 0, 0)))) == [255, 255, 255]
    assert pixel(encoded(Image.new("RGBA", size, (10, 20, 30, 255)))) == [10, 20, 30]
    assert pixel(encoded(Image.new("LA", size, (0, 51)))) == [204, 204, 204]
    palette = Image.new("P", size, 0)
    palette.putpalette([9, 9, 9, 1, 2, 3])
    assert pixel(encoded(palette, transparency=0)) == [255, 255, 255]
    assert pixel(encoded(palette, transparency=1)) == [9, 9, 9]


def test_16_bits_are_scaled_by_their_full_range() -> None:
    ramp = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(ramp)), "key")[0, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_damage(number: float) -> None:
    with pytest.raises(BadSample, match="damaged"):
        decode(encoded(Image.fromarray(np.array([[0.0, number]], dtype=np.float32)), "tiff"), "key")


def test_floats_are_scaled_by_the_range_they_use() -> None:
    ramp = np.array([[-2.0, 0.0, 2.0]], dtype=np.float32)
    assert decode(encoded(Image.fromarray(ramp), "tiff"), "key")[0, 0].tolist() == [0, 128, 255]
    assert pixel(encoded(Image.fromarray(np.full((2, 2), 7, np.float32)), "tiff")) == [0, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = torch.arange(6, dtype=torch.uint8).reshape(2, 3) * 40
    stored = turn_back(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(stored.contiguous().numpy()), exif=exif)
    assert torch.equal(decode(data, "key")[0], upright)


def turn_back(image: Tensor, orientation: int) -> Tensor:
    """How a camera stores an upright image, from the standard's table of what row 0 and column 0 show."""
    row_0, column_0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    stored = image.T if row_0 in ("left", "right") else image
    flipped = [axis for axis, side in enumerate((row_0, column_0)) if side in ("right", "bottom")]
    return stored.flip(flipped)


def test_damaged_exif_does_not_lose_the_image() -> None:
    data = encoded(photo(), "jpeg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert decode(data, "key").shape == (3, 40, 50)


def test_gzip_under_an_image_name_is_unpacked() -> None:
    data = encoded(photo())
    assert torch.equal(decode(gzip.compress(data), "key"), decode(data, "key"))


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    assert pixel(encoded(frames[0], "gif", save_all=True, append_images=frames[1:])) == [255, 0, 0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>gone</html>", "not_an_image"),
        (b"\0" * 500, "not_an_image"),
        (encoded(photo(), "jpeg")[:-400], "truncated"),
        (encoded(photo())[:-2000], "truncated"),
        (gzip.compress(encoded(photo()))[:-2000], "truncated"),
        (b"\x1f\x8b" + b"\xff" * 50, "damaged"),
        (encoded(photo()).replace(b"IDATx", b"IDAT\xff"), "damaged"),
    ],
)
def test_bad_bytes_have_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadSample) as caught:
        decode(data, "some/key")
    assert (caught.value.key, caught.value.reason) == ("some/key", reason)
    assert reason in REASONS


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 40 * 50 - 1)
    with pytest.raises(BadSample, match="too_large"):
        decode(encoded(photo()), "key")
    monkeypatch.setattr(module, "MAX_PIXELS", 40 * 50)
    assert decode(encoded(photo()), "key").shape == (3, 40, 50)


def test_a_jpeg_may_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 0)
    data = encoded(photo(), "jpeg")
    assert decode(data, "key").shape == (3, 40, 50)
    monkeypatch.setattr(module, "MAX_PIXELS_OF_JPEG", 40 * 50 - 1)
    with pytest.raises(BadSample, match="too_large"):
        decode(data, "key")


def peak_bytes(label: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(label))


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="resets the peak of memory by /proc")
@pytest.mark.parametrize("options", [{}, {"transparency": 0}])
def test_a_palette_bomb_just_under_the_bound_takes_about_a_gigabyte(options: dict[str, int]) -> None:
    data, part = encoded(Image.new("P", (2048, 2048)), **options), MAX_PIXELS / 2048**2
    assert len(data) < 2000
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes("VmRSS")
    decode(data, "key")
    assert (peak_bytes("VmHWM") - before) * part < 1.2e9


@pytest.mark.parametrize("height", [1, 255, 256, 600])
def test_deep_grey_is_the_same_in_strips(height: int) -> None:
    values = np.random.default_rng(0).normal(size=(height, 3)).astype(np.float32)
    span = np.float64(values.max()) - values.min()
    expected = np.rint((values.astype(np.float64) - values.min()) * (255 / max(span, 1e-12)))
    assert decode(encoded(Image.fromarray(values), "tiff"), "key")[0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    "data",
    [
        encoded(photo(), "jpeg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"),  # Pillow warns of its EXIF
        encoded(Image.fromarray(np.array([[0.0, np.inf]], dtype=np.float32)), "tiff"),  # numpy, of its numbers
        encoded(photo(), "tiff")[:-500],
    ],
)
def test_odd_files_are_not_remarked_upon(data: bytes, recwarn: pytest.WarningsRecorder) -> None:
    with contextlib.suppress(BadSample):
        decode(data, "key")
    assert not recwarn.list


@pytest.mark.parametrize("format", ["ico", "tga", "pcx", "jpeg2000", "eps"])
def test_formats_without_an_ending_of_ours_are_no_images(format: str) -> None:
    with pytest.raises(BadSample, match="not_an_image"):
        decode(encoded(photo(), format), "key")


def test_every_ending_has_a_format_that_is_read() -> None:
    for ending in EXTENSIONS:
        name = Image.registered_extensions()[ending]
        assert name in FORMATS
        assert decode(encoded(photo(), name), "key").shape == (3, 40, 50)
    assert decode(encoded(photo(), "mpo", save_all=True, append_images=[photo()]), "key").shape == (3, 40, 50)


def test_bomb_is_refused() -> None:
    bomb = bytearray(encoded(Image.new("1", (8, 8))))
    bomb[16:24] = (100_000).to_bytes(4, "big") * 2  # width and height in the PNG header
    header_end = 29
    bomb[header_end : header_end + 4] = zlib.crc32(bytes(bomb[12:header_end])).to_bytes(4, "big")
    with pytest.raises(BadSample, match="too_large"):
        decode(bytes(bomb), "key")


def test_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 1000)
    with pytest.raises(BadSample, match="too_large"):
        decode(gzip.compress(bytes(100_000)), "key")


def smooth_photo(height: int = 120, width: int = 200) -> Image.Image:
    """Noise without the finest detail, as in a photo."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(120, 200), (121, 203), (9, 17)])
def test_a_jpeg_is_decoded_as_small_as_is_asked(factor: int, height: int, width: int) -> None:
    asked = []

    def reduction(*size: int) -> int:
        asked.append(size)
        return factor

    data = encoded(smooth_photo(height, width), "jpeg", quality=95, subsampling=0)
    picture = decode_reduced(data, "key", reduction)
    assert asked == [(height, width)]
    assert (picture.height, picture.width) == (height, width)
    assert picture.pixels.shape == (3, -(-height // factor), -(-width // factor))
    full = decode(data, "key")[:, : height // factor * factor, : width // factor * factor].float()
    means = full.unflatten(2, (-1, factor)).unflatten(1, (-1, factor)).mean((2, 4))
    small = picture.pixels[:, : height // factor, : width // factor]
    assert (small - means).abs().mean() < 1.5


def test_size_and_pixels_of_a_reduced_jpeg_are_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    picture = decode_reduced(encoded(smooth_photo(), "jpeg", exif=exif), "key", lambda height, width: 2)
    assert (picture.height, picture.width) == (200, 120)
    assert picture.pixels.shape == (3, 100, 60)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_reduced_jpeg_of_another_mode_becomes_rgb(mode: str) -> None:
    picture = decode_reduced(encoded(smooth_photo().convert(mode), "jpeg"), "key", lambda height, width: 4)
    assert picture.pixels.shape == (3, 30, 50)


@pytest.mark.parametrize("format", ["png", "webp", "gif", "bmp"])
def test_formats_that_cannot_be_reduced_are_not_asked(format: str) -> None:
    def reduction(height: int, width: int) -> int:
        raise AssertionError

    picture = decode_reduced(encoded(photo(), format), "key", reduction)
    assert picture.pixels.shape == (3, 40, 50) == (3, picture.height, picture.width)


def test_a_cut_off_jpeg_is_bad_at_reduced_size_too() -> None:
    data = encoded(smooth_photo(), "jpeg", quality=95)
    with pytest.raises(BadSample, match="truncated"):
        decode_reduced(data[: len(data) // 2], "key", lambda height, width: 4)


def test_a_whole_picture_has_its_own_size() -> None:
    picture = Picture.whole(torch.zeros(3, 5, 7, dtype=torch.uint8))
    assert (picture.height, picture.width) == (5, 7)
