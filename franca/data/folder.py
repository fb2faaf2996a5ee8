"""Images in a folder tree of any depth."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from franca.data.decode import EXTENSIONS, UNREADABLE, decode
from franca.data.packed import PackedStrings
from franca.data.passed_over import kind_of, total
from franca.data.sample import BadSample, Encoded, Sample
from franca.errors import DataError


class FolderSource:
    """Every image below a folder, in sorted order; ``passed_over`` counts the other files.

    Args:
        root: The folder.
        labels: The folders directly below ``root`` are classes; needed only to evaluate.

    Raises:
        DataError: No folder, no image in it, or no class folders although labels are asked for.
    """

    kind = "folder"

    def __init__(self, root: Path, *, labels: bool = False) -> None:
        files = list(files_below(root))
        images = [file for file in files if file.lower().endswith(EXTENSIONS)]
        if not images:
            raise DataError(
                f"No image in {root}: looked for {', '.join(EXTENSIONS)} in it and in all folders below, "
                f"found {len(files):,} other files. Point to the folder that holds the images."
            )
        self.location = str(root)
        self.passed_over = total([Counter(kind_of(file) for file in files if not file.lower().endswith(EXTENSIONS))])
        self.group_sizes = (len(images),)
        self.class_names: tuple[str, ...] | None = None
        self._labels: NDArray[np.int64] | None = None
        if labels:
            self.class_names, self._labels = _classes(root, images)
        self._files = PackedStrings(images)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Of every image, which need not be read for it; None where they were not asked for."""
        return self._labels

    @property
    def fingerprint(self) -> str:
        """A hash of all names in their order."""
        return hashlib.sha256(self._files.ends.tobytes() + self._files.characters.tobytes()).hexdigest()

    def content(self) -> str:
        """Text that changes with any file: a hash of all names, sizes and times of change."""
        digest = hashlib.sha256(f"{self.fingerprint} {self.class_names}".encode())
        for index in range(len(self)):
            digest.update(stamp_of(Path(self.location, self._files[index])).encode())
        return digest.hexdigest()

    def read(self, index: int) -> Sample:
        """Reads and decodes one image; its key is the path below the folder."""
        file = self.read_encoded(index)
        return Sample(file.key, decode(file.data, file.key), file.label)

    def read_encoded(self, index: int) -> Encoded:
        """Reads one image file."""
        key = self._files[index]
        path = Path(self.location, key)
        if not path.is_file():  # gone, or a pipe or device, whose reader would wait for ever
            raise BadSample(key, UNREADABLE)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadSample(key, UNREADABLE) from error
        label = None if self._labels is None else int(self._labels[index])
        return Encoded(key, data, label)


def stamp_of(path: str | os.PathLike[str]) -> str:
    """Size and time of change of a file, as text that differs once it was written again."""
    try:
        found = os.stat(path)
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


def files_below(root: Path) -> Iterator[str]:
    """Paths of all files below a folder, relative to it, sorted folder by folder; hidden ones are left out.

    Links to folders are followed, but not back into a folder they lie in.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder." if root.exists() else f"{root} does not exist.")
    yield from _walk(str(root), "", (os.path.realpath(root),))


def _walk(folder: str, prefix: str, ancestors: tuple[str, ...]) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"Cannot list {folder}: {error.strerror}.") from error
    for entry in sorted(visible, key=lambda entry: entry.name):
        if not _is_folder(entry):
            yield prefix + entry.name
        elif (real := os.path.realpath(entry.path)) not in ancestors:
            yield from _walk(entry.path, f"{prefix}{entry.name}/", (*ancestors, real))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which reading it will count as unreadable
        return False


def _classes(root: Path, images: list[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names, and the label of each image, from the first part of its path."""
    outside = [image for image in images if "/" not in image]
    if outside:
        raise DataError(
            f"No labels in {root}: {len(outside):,} of {len(images):,} images lie directly in it (first: "
            f"{outside[0]}). Expected the images of each class in a folder of its own."
        )
    parts = [image.partition("/")[0] for image in images]
    names = tuple(sorted(set(parts)))
    label = {name: index for index, name in enumerate(names)}
    return names, np.array([label[part] for part in parts])
