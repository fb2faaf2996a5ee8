"""Image files to measure with: those of a source as they are, or made of its pictures at a size."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from franca.config.schema import SyntheticConfig
from franca.data.sample import EncodedSource
from franca.data.sources import open_source

DRAWN_SIZE = (500, 375)


def image_files(location: str, tile: tuple[int, int] | None, number: int) -> list[bytes]:
    """JPEG files of a source, repeated where it has too few."""
    if location == "synthetic":
        tile = tile or DRAWN_SIZE
        source = open_source(location, synthetic=SyntheticConfig(num_images=number, size_px=max(tile)))
    else:
        source = open_source(location)
    if tile is None and isinstance(source, EncodedSource):
        files = [source.read_encoded(index).data for index in range(min(number, len(source)))]
        return [files[index % len(files)] for index in range(number)]
    pictures = (source.read(index % len(source)).image.permute(1, 2, 0).numpy() for index in count())
    return [tiled(pictures, tile) if tile else jpeg(next(pictures)) for _ in range(number)]


def tiled(pictures: Iterator[Any], size: tuple[int, int]) -> bytes:
    """An image of the size, laid out with pictures."""
    width, height = size
    canvas, top = Image.new("RGB", size), 0
    while top < height:
        left, lowest = 0, height
        while left < width:
            picture = Image.fromarray(next(pictures))
            canvas.paste(picture, (left, top))
            left, lowest = left + picture.width, min(lowest, picture.height)
        top += lowest
    return jpeg(np.asarray(canvas))


def jpeg(pixels: Any) -> bytes:
    """A JPEG file of good quality."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=92)
    return buffer.getvalue()


def write_shard(path: Path, files: list[bytes]) -> Path:
    """A tar with one image a sample."""
    with tarfile.open(path, "w") as tar:
        for index, file in enumerate(files):
            member = tarfile.TarInfo(f"{index:06d}.jpg")
            member.size = len(file)
            tar.addfile(member, io.BytesIO(file))
    return path
