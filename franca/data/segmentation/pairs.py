"""Images and their masks, file beside file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import torch

from franca.data.decode import UNREADABLE, decode
from franca.data.packed import PackedStrings
from franca.data.sample import BadSample, Sample, Source
from franca.data.segmentation.masks import Codes, check_size, image_size, read_mask
from franca.errors import DataError

_NUM_THREADS = 4
_NUM_NAMED = 3


class PairSource:
    """Images, each with a mask of its own.

    Args:
        location: As the user wrote it.
        root: The folder that all paths begin in.
        images: Paths below ``root``.
        masks: Paths below ``root``, one for each image.
        mask_names: Name of each class of the masks.
        codes: What the values in mask files mean.
    """

    kind = "segmentation"
    class_names = None  # images have no labels, their pixels have

    def __init__(
        self,
        location: str,
        root: Path,
        images: Sequence[str],
        masks: Sequence[str],
        mask_names: Sequence[str],
        codes: Codes,
    ) -> None:
        self.location = location
        self.group_sizes = (len(images),)
        self.mask_names = tuple(mask_names)
        self._root = root
        self._images = PackedStrings(list(images))
        self._masks = PackedStrings(list(masks))
        self._codes = codes

    def __len__(self) -> int:
        return len(self._images)

    @property
    def fingerprint(self) -> str:
        """A hash of all names in their order, and of what the values mean."""
        digest = hashlib.sha256(self._codes.tobytes())
        for names in (self._images, self._masks):
            digest.update(names.ends.tobytes() + names.characters.tobytes())
        return digest.hexdigest()

    def content(self) -> str:
        """Text that changes when a file is added, removed, renamed or written."""
        digest = hashlib.sha256(f"{self.fingerprint} {self.mask_names}".encode())
        for names in (self._images, self._masks):
            for index in range(len(names)):
                about = (self._root / names[index]).stat()
                digest.update(f"{about.st_size} {about.st_mtime_ns} ".encode())
        return digest.hexdigest()

    def read(self, index: int) -> Sample:
        """Reads an image and its mask; the key is the path of the image."""
        key = self._images[index]
        try:
            image = decode((self._root / key).read_bytes(), key)
        except OSError as error:
            raise BadSample(key, UNREADABLE) from error
        mask_path = self._root / self._masks[index]
        mask = read_mask(mask_path, self._codes)
        check_size(mask, mask_path, (image.shape[1], image.shape[2]))
        return Sample(key, image, mask=torch.from_numpy(mask))

    def problem(self, index: int) -> str | None:
        """What is wrong with a mask; the image is not decoded for it."""
        path = self._root / self._masks[index]
        try:
            mask = read_mask(path, self._codes)
            if (size := image_size(self._root / self._images[index])) is not None:
                check_size(mask, path, size)
        except DataError as error:
            return str(error)
        return None


def check_masks(source: PairSource) -> None:
    """Reads every mask once: a few milliseconds each, before hours of features.

    Raises:
        DataError: Some are missing, damaged, of another size than their image, or hold what is no class.
    """
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        problems: Iterator[str] = filter(None, pool.map(source.problem, range(len(source))))
        first = list(islice(problems, _NUM_NAMED))
        others = sum(1 for _ in problems)
    if first:
        more = f" And {others:,} more masks like these." if others else ""
        raise DataError(f"{source.location}: {' '.join(first)}{more}")


def mask_names_of(source: Source) -> tuple[str, ...]:
    """The classes of a source's masks.

    Raises:
        DataError: The source has no masks.
    """
    names: tuple[str, ...] | None = getattr(source, "mask_names", None)
    if names is None:
        raise DataError(
            f"{source.location} has no masks. Expected DIR:split for a folder laid out as Pascal VOC or ADE20K, or "
            "synthetic."
        )
    return names
