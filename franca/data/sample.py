"""One image of a source, and what every source offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """An image with what is known about it."""

    key: str  # names the sample within its source
    image: Tensor  # [3, H, W] uint8, RGB
    label: int | None = None  # index into the source's class_names
    mask: Tensor | None = None  # [H, W] uint8, 255 = ignore
    caption: str | None = None  # where asked for
    json: Any = None  # what is written about it, where asked for


@dataclass(frozen=True)
class Encoded:
    """The file of an image as its source holds it, not yet decoded."""

    key: str  # names the sample within its source
    data: bytes
    label: int | None = None  # index into the source's class_names
    caption: str | None = None  # where asked for
    json: Any = None  # what is written about it, where asked for


class BadSample(Exception):
    """One sample cannot be read; the others can.

    Args:
        key: Names the sample within its source.
        reason: A short slug such as ``truncated``, by which bad samples are counted.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)  # both arguments, or a worker process could not send it on
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


class Source(Protocol):
    """Images by index. A source can be pickled, so that worker processes each get a copy."""

    @property
    def kind(self) -> str:
        """``folder``, ``tar``, ``synthetic``, ``custom`` or ``mixture``."""

    @property
    def location(self) -> str:
        """Where the images are, as the user wrote it."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each label; None where samples carry no labels."""

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Samples per shard, in order; a folder is one group."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """The sample at ``index``, from 0 to ``len(self) - 1``.

        Raises:
            BadSample: This one cannot be read.
        """
        ...


@runtime_checkable
class EncodedSource(Source, Protocol):
    """A source whose images are files; others draw or compute them."""

    def read_encoded(self, index: int) -> Encoded:
        """The file of the sample at ``index``.

        Raises:
            BadSample: Its bytes cannot be had; whether they hold an image is not looked at.
        """
        ...
