"""Writes the images of a source to tar shards, shuffled, in the WebDataset layout.

OUT/000000.tar          samples: KEY.jpg (or another ending), KEY.json, and .cls, .txt where there are labels, captions
OUT/000000_stats.json   how many samples it holds, and what was left out
OUT/classes.txt         names of the classes: line i for the label i, from 0

KEY numbers the samples in their shuffled order; ``packed_from`` in the JSON is the key that the source had.
"""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from franca.data.class_names import write_class_names
from franca.data.decode import FORMATS, decode, without_remarks
from franca.data.mixture import make_plan
from franca.data.sample import BadSample, Encoded, EncodedSource, Sample, Source
from franca.data.shard_writer import BoundedShards, Members, Packed, appears_when_complete
from franca.data.sweep import Progress, sweep
from franca.errors import DataError

_ENDINGS = {
    "BMP": "bmp",
    "GIF": "gif",
    "JPEG": "jpg",
    "MPO": "jpg",  # a JPEG with further pictures behind it, as phones write
    "PNG": "png",
    "PPM": "ppm",
    "TIFF": "tif",
    "WEBP": "webp",
}


@dataclass(frozen=True)
class Recoding:
    """How images are changed on the way; unchanged ones keep their bytes.

    Args:
        resize_px: Images whose shorter side is longer than this are brought to it; None changes none.
        quality: Of the JPEG that a changed image becomes, from 1 to 100.
    """

    resize_px: int | None = None
    quality: int = 95


def pack(
    source: Source,
    out: Path,
    *,
    recoding: Recoding | None = None,
    max_bytes: int = 1_000_000_000,
    max_images: int = 10_000,
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
) -> Packed:
    """Writes every readable image once; the folder appears when it is complete.

    Args:
        source: What to pack; labels, captions and JSON are kept where it hands them out.
        out: A folder that does not exist, or is empty.
        recoding: How images are changed; None changes none.
        max_bytes: Largest size of a shard, unless one sample alone is larger.
        max_images: Most samples of a shard.
        seed: Of the order, which is that of a first pass in training.
        workers: Processes that read, check and resize.
        progress: Called as samples are written.

    Raises:
        ConfigError: The folder is not empty, or another process packs into it.
        DataError: No image can be read.
    """
    order = make_plan(source, seed=seed).samples(np.arange(len(source)))
    task = partial(_members, source, recoding or Recoding())
    with appears_when_complete(out) as folder:
        if source.class_names is not None:
            write_class_names(folder, source.class_names)
        with BoundedShards(folder, max_bytes=max_bytes, max_images=max_images) as shards:
            for number, members in enumerate(sweep(task, order, workers=workers, progress=progress)):
                shards.add(f"{number:09d}", members)
        packed = shards.packed
        if not packed.num_images:
            reasons = "; ".join(f"{reason}: {bad}" for reason, bad in packed.bad.items())
            raise DataError(f"No image of {source.location} can be read, so nothing was packed ({reasons}).")
    return packed


def _members(source: Source, recoding: Recoding, index: int) -> Members | BadSample:
    """The files of one sample, or why it cannot be used."""
    about: Encoded | Sample
    try:
        if isinstance(source, EncodedSource):
            about = source.read_encoded(int(index))
            original, image = about.data, decode(about.data, about.key)
        else:
            about = source.read(int(index))
            original, image = None, about.image
    except BadSample as bad:
        return bad
    members = _image_file(image, original, recoding)
    if about.caption is not None:
        members["txt"] = about.caption.encode(errors="surrogateescape")
    notes = about.json if isinstance(about.json, dict) else {} if about.json is None else {"json": about.json}
    notes = notes | {"packed_from": about.key}
    if about.label is not None:
        members["cls"] = b"%d" % about.label
        if source.class_names is not None:
            notes["class_name"] = source.class_names[about.label]
    return members | {"json": json.dumps(notes).encode()}


def _image_file(image: Tensor, original: bytes | None, recoding: Recoding) -> Members:
    """The image as it came or, where it is too large, resized; what is no file becomes a PNG."""
    _, height, width = image.shape
    if recoding.resize_px is not None and min(height, width) > recoding.resize_px:
        scale = recoding.resize_px / min(height, width)
        size = (round(width * scale), round(height * scale))
        resized = _picture(image).resize(size, Image.Resampling.BICUBIC)
        return {"jpg": _encode(resized, "JPEG", quality=recoding.quality)}
    if original is not None:
        original = gzip.decompress(original) if original.startswith(b"\x1f\x8b") else original
        with without_remarks(), Image.open(io.BytesIO(original), formats=FORMATS) as opened:
            return {_ENDINGS[str(opened.format)]: original}
    return {"png": _encode(_picture(image), "PNG")}


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def _encode(picture: Image.Image, file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()
