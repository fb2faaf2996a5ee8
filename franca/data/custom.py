"""A user's own images: ``module:callable`` names a function, or a class, that makes the source."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from franca.data.decode import DAMAGED, decode
from franca.data.sample import BadSample, Sample, Source
from franca.errors import DataError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_EXPECTED = (
    "a PIL image, the bytes of an image file, a uint8 tensor [3, H, W] or a uint8 array [H, W, 3], or a tuple that "
    "begins with one of these and a whole number, its label"
)


def is_custom(location: str) -> bool:
    """Whether a location reads ``module:callable``, and no file has this name."""
    return _NAME.fullmatch(location) is not None and not os.path.exists(location)


def open_custom(location: str) -> Source:
    """What ``module:callable`` makes when it is called without arguments.

    Returns:
        The result itself if it is a `Source`, else its items as one.

    Raises:
        DataError: It cannot be imported or called, or the result has no length and items.
    """
    module_name, _, name = location.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as ``python -m`` does
    try:
        made: Any = importlib.import_module(module_name)
        for part in name.split("."):
            made = getattr(made, part)
        made = made()
    except Exception as error:  # what a user's code raises is not ours to foresee
        if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
            raise DataError(
                f"Cannot make a source of images from {location}: there is no folder {module_name} here, for "
                f"DIR:split, and no module of this name, for module:callable ({type(error).__name__})."
            ) from error
        raise DataError(f"Cannot make a source of images from {location}: {type(error).__name__}: {error}.") from error
    if all(hasattr(made, attribute) for attribute in ("read", "group_sizes", "__len__")):
        source: Source = made
        return source
    if not (hasattr(made, "__len__") and hasattr(made, "__getitem__")):
        raise DataError(
            f"{location} made a {type(made).__name__}. Expected an object with __len__ and __getitem__ whose items are "
            f"{_EXPECTED}; or a franca.data.sample.Source."
        )
    return ItemSource(made, location)


class ItemSource:
    """The items of a sized and indexable object, such as a map-style dataset.

    Args:
        items: Gives an image, or a tuple of image and label, for each index.
        location: What the user wrote.

    Raises:
        DataError: There are none.
    """

    kind = "custom"
    class_names = None

    def __init__(self, items: Any, location: str) -> None:
        if not len(items):
            raise DataError(f"{location} made an empty {type(items).__name__}. Expected one item at least.")
        self.location = location
        self.group_sizes = (len(items),)
        self._items = items

    def __len__(self) -> int:
        return self.group_sizes[0]

    def read(self, index: int) -> Sample:
        """Asks for one item; when that fails, only this sample is bad.

        Raises:
            DataError: It is nothing that can be used as an image.
        """
        try:
            item = self._items[index]
        except Exception as error:
            raise BadSample(str(index), DAMAGED) from error
        image, label = (item[0], item[1] if len(item) > 1 else None) if isinstance(item, tuple) else (item, None)
        return Sample(str(index), self._pixels(image, index), label if isinstance(label, int) else None)

    def _pixels(self, image: Any, index: int) -> Tensor:
        if isinstance(image, bytes):
            return decode(image, str(index))
        if isinstance(image, Image.Image):
            try:
                image = np.array(image.convert("RGB"))
            except Exception as error:  # files are often read only now
                raise BadSample(str(index), DAMAGED) from error
        if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return torch.from_numpy(image).permute(2, 0, 1)
        if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3:
            return image
        found = type(image).__name__
        if isinstance(image, (Tensor, np.ndarray)):
            found = f"{found} of {image.dtype} {list(image.shape)}"
        raise DataError(f"Item {index} of {self.location} is a {found}. Expected {_EXPECTED}.")
