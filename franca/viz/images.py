"""The images that are drawn: which of a source, and in which size the model sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from franca.data.decode import UNREADABLE, decode
from franca.data.folder import stamp_of
from franca.data.sample import BadSample, Sample, Source
from franca.features.preprocess import bring_to


class OneImage:
    """A source of a single image file."""

    kind = "folder"
    class_names = None
    group_sizes = (1,)

    def __init__(self, path: Path) -> None:
        self.location = str(path)

    def __len__(self) -> int:
        return 1

    def content(self) -> str:
        """Text that changes with the file."""
        return f"{self.location} {stamp_of(self.location)}"

    def read(self, index: int) -> Sample:
        """Reads and decodes the image; its key is the name of the file."""
        path = Path(self.location)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadSample(path.name, UNREADABLE) from error
        return Sample(path.name, decode(data, path.name))


class Places:
    """Some images of a source, which are called by their place in it: ``"7"`` is ``source.read(7)``.

    Args:
        source: All images.
        places: Which of them, in order.
    """

    def __init__(self, source: Source, places: Sequence[int]) -> None:
        self.kind, self.location, self.class_names = source.kind, source.location, None
        self.group_sizes = (len(places),)
        self._source, self._places = source, tuple(places)
        if hasattr(source, "content"):  # only such a source can have its features cached
            self.content = self._content

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int) -> Sample:
        """The image at the ``index``-th of the places, without label or mask."""
        place = self._places[index]
        try:
            return replace(self._source.read(place), key=str(place), label=None, mask=None)
        except BadSample as bad:
            raise BadSample(str(place), bad.reason) from bad

    def _content(self) -> str:
        return f"{self._source.content()} {self._places}"  # type: ignore[attr-defined]


def brought(image: Tensor, size_px: tuple[int, int], fit: str, patch_size_px: int | None) -> Tensor:
    """An image as the model is to see it.

    Args:
        image: [3, H, W] uint8.
        size_px: Height and width; for ``keep`` it only says how many pixels.
        fit: ``keep``, or what `franca.features.preprocess.bring_to` takes.
        patch_size_px: Of the model; None = it has no patches of fixed size.

    Returns:
        [3, h, w] uint8.
    """
    if fit == "keep":
        return bring_to(image, kept_size(image.shape[-2:], size_px, patch_size_px or 1), "stretch")
    return bring_to(image, size_px, fit)


def kept_size(shape: Sequence[int], size_px: tuple[int, int], patch_size_px: int) -> tuple[int, int]:
    """Height and width in the proportions of ``shape`` with about as many pixels as ``size_px``, in whole patches."""
    scale = math.sqrt(math.prod(size_px) / math.prod(shape))
    height, width = (max(1, round(side * scale / patch_size_px)) * patch_size_px for side in shape)
    return height, width
