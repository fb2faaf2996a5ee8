"""Features on disk: computed in parts, by any number of ranks, then joined into one file.

A part holds the features of consecutive images and is there whole or not at all, so that an extraction that was stopped
goes on with the parts that are missing. Which images make up a part depends on the source's length alone.

Files are safetensors. Tensors: ``cls`` [n, D] of the last block; ``cls_layers`` [n, L, D], last block last, where
several were asked for; ``patch_mean`` [n, D]; ``patches`` [n, h, w, D] float16; ``mask`` [n, H, W] uint8; ``label`` [n]
int64 where every image has one. Metadata, as JSON: ``keys`` of the images, ``class_names``, ``mask_names``, ``skipped``
images with reasons, and ``settings``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from franca.batch import Skipped
from franca.errors import DataError
from franca.features.patches import PatchTable
from franca.features.table import FeatureTable
from franca.models.safetensors import write_joined, write_safetensors

MAX_IMAGES, MIN_IMAGES = 1024, 32
NUM_PARTS = 16  # at least, for a source that is large enough: work for so many ranks
PART_BYTES = 64 << 20
UNLABELLED = -1


@dataclass(frozen=True)
class Parts:
    """The parts of one extraction in their folder."""

    folder: Path
    num_images: int
    images_per_part: int

    @classmethod
    def of(cls, folder: Path, num_images: int, image_bytes: int) -> Parts:
        """Parts of a size that suits features of so many bytes an image."""
        evenly = math.ceil(num_images / NUM_PARTS)
        fitting = PART_BYTES // max(1, image_bytes)
        size = min(MAX_IMAGES, max(MIN_IMAGES, evenly), max(1, fitting))
        return cls(folder, num_images, size)

    def images(self, part: int) -> range:
        """Indices of the images of a part."""
        first = part * self.images_per_part
        return range(first, min(first + self.images_per_part, self.num_images))

    def path(self, part: int) -> Path:
        """Where a part lies, or will."""
        return self.folder / f"part_{part:06d}.safetensors"

    def numbers(self) -> range:
        """All parts."""
        return range(math.ceil(self.num_images / self.images_per_part))

    def missing(self) -> list[int]:
        """Parts that are not there."""
        return [part for part in self.numbers() if not self.path(part).exists()]

    def write(self, part: int, tensors: Mapping[str, Tensor], keys: Sequence[str], skipped: Sequence[Skipped]) -> None:
        """Keep one part; no tensors where none of its images could be read."""
        told = {"keys": json.dumps(list(keys)), "skipped": json.dumps([[bad.key, bad.reason] for bad in skipped])}
        write_safetensors(self.path(part), tensors, told)

    def join(self, whole: Path, metadata: Mapping[str, Any]) -> None:
        """Put all parts into one file, and remove them.

        Another process may be at the same work. Whoever comes last finds parts gone and the file there, and is done.

        Raises:
            DataError: No image could be read.
        """
        try:
            self._join(whole, metadata)
        except (FileNotFoundError, SafetensorError):
            if not whole.exists():
                raise
        self.remove()

    def _join(self, whole: Path, metadata: Mapping[str, Any]) -> None:
        paths = [self.path(part) for part in self.numbers()]
        keys: list[str] = []
        skipped: list[list[str]] = []
        full = []
        for path in paths:
            with safe_open(path, "pt") as file:
                told = file.metadata()
                keys += json.loads(told["keys"])
                skipped += json.loads(told["skipped"])
                if file.keys():
                    full.append(path)
        if not keys:
            self.remove()
            raise DataError(f"{metadata['source']}: none of its {self.num_images} images could be read")
        told = {name: json.dumps(value) for name, value in metadata.items()}
        told |= {"keys": json.dumps(keys), "skipped": json.dumps(skipped)}
        with safe_open(full[0], "pt") as file:
            names = file.keys()
        write_joined(whole, {name: _TensorOfParts(full, name) for name in names}, told)

    def remove(self) -> None:
        """Remove all parts."""
        for part in self.numbers():
            with suppress(FileNotFoundError):
                os.unlink(self.path(part))


class _TensorOfParts:
    """One tensor as the parts have it, each opened when its turn comes; can be gone through twice."""

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        self._paths, self._name = paths, name

    def __iter__(self) -> Iterator[Tensor]:
        for path in self._paths:
            with safe_open(path, "pt") as file:
                yield file.get_tensor(self._name)


def read_features(path: Path) -> FeatureTable:
    """The table of a joined file; its tensors stay in the file until they are looked at."""
    with safe_open(path, "pt") as file:
        told = {name: json.loads(value) for name, value in file.metadata().items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    keys = tuple(told["keys"])
    labels = tensors.get("label")
    patches = tensors.get("patches")
    return FeatureTable(
        cls=tensors["cls_layers"] if "cls_layers" in tensors else tensors["cls"][:, None],
        patch_mean=tensors.get("patch_mean"),
        labels=None if labels is None or bool((labels == UNLABELLED).any()) else labels,
        keys=keys,
        class_names=_names(told["class_names"]),
        patches=None if patches is None else PatchTable(patches, tensors.get("mask"), keys, _names(told["mask_names"])),
        skipped=tuple(Skipped(key, reason) for key, reason in told["skipped"]),
    )


def key_of(path: Path) -> str | None:
    """The key of the job that wrote a joined file; None where no job of ours did."""
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
    except (OSError, SafetensorError):
        return None
    return json.loads(told["key"]) if "key" in told else None


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def stack(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several batches together, by name."""
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]} if rows else {}
