"""What an extraction is to compute, and the key under which its result is known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from franca.data.sample import Source
from franca.distributed.device import DTYPES, resolve_precision
from franca.errors import DataError
from franca.features.foreign import explain_failure
from franca.features.model import FeatureModel, ImageFeatures, check_image_size
from franca.features.preprocess import normalise
from franca.features.settings import FeatureSettings
from franca.features.table import Wanted

FORMAT = 1  # of the files; part of the key
_EXPECTED = "Expected embeddings [B, D] for any number of images B; another image_size_px may be what it needs"


@dataclass(frozen=True)
class Job:
    """One model, one source, and what is wanted of them."""

    model: FeatureModel
    source: Source
    wanted: Wanted
    settings: FeatureSettings
    device: torch.device

    def prepare(self) -> None:
        """Move the model to the device. A wrong size is told first, before anything is asked of the model.

        Raises:
            DataError: The patches of the model do not tile its input.
            OutOfMemory: The model does not fit the device.
        """
        _ = self.size_px
        self.model.to(self.device)

    @cached_property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the model's input.

        Raises:
            DataError: The patches of the model do not tile it.
        """
        asked = self.settings.image_size_px or self.model.preprocessing.image_size_px
        size = (asked, asked) if isinstance(asked, int) else tuple(asked)
        if len(size) != 2:
            raise DataError(f"image_size_px={list(size)}: expected one number, or [height, width]")
        check_image_size(self.model, size)
        return size

    @cached_property
    def precision(self) -> str:
        """fp32, bf16 or fp16."""
        return resolve_precision(self.settings.precision, self.device)

    def features(self, images: torch.Tensor) -> ImageFeatures:
        """What is wanted of a batch of bytes [B, 3, H, W] on any device.

        Raises:
            ConfigError: The model fails, or returns something else than embeddings.
            OutOfMemory: The batch does not fit the device.
        """
        preprocessing = self.model.preprocessing
        dtype = DTYPES[self.precision]
        patches = self.wanted.patches or self.wanted.patch_mean
        shape = f"{list(images.shape)}, {self.precision} on {self.device}"
        autocast = torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)
        with explain_failure(f"{self.model.name} fails on a batch of images {shape}", _EXPECTED):
            images = images.to(self.device, non_blocking=True)
            with torch.inference_mode(), autocast:
                inputs = normalise(images, preprocessing.mean, preprocessing.std)
                return self.model(inputs, self.wanted.layers, patches=patches)

    @cached_property
    def probe(self) -> ImageFeatures:
        """What the model answers to one image of noise: shapes, and a sign by which its code is known.

        Raises:
            ConfigError: It fails, or returns something else than embeddings.
        """
        generator = torch.Generator().manual_seed(0)
        return self.features(torch.randint(256, (1, 3, *self.size_px), dtype=torch.uint8, generator=generator))

    def describe(self) -> dict[str, Any]:
        """What else it takes to get the same features again; JSON types."""
        preprocessing = self.model.preprocessing
        return {
            "image_size_px": self.size_px[0] if self.size_px[0] == self.size_px[1] else list(self.size_px),
            "fit": self.settings.fit,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "device": str(self.device),
            "precision": self.precision,
            "weights_sha256": self.model.fingerprint,
        }

    def key(self) -> str | None:
        """Text that is the same for the same features; None where the source cannot tell whether it has changed.

        It holds the weights, what the model makes of one image (the same weights in other code are another model),
        the source's content, and everything else that changes features.
        """
        return None if self._content is None else _digest(self._about_features() | {"source": self._content})

    def loose_key(self) -> str:
        """As `key`; of a source that cannot tell, with its location and length instead of its content."""
        source = self._content or f"{self.source.location} {len(self.source)}"
        return _digest(self._about_features() | {"source": source})

    @cached_property
    def _content(self) -> str | None:
        """What the source says of its files, asked once: there may be millions."""
        content = getattr(self.source, "content", None)
        return None if content is None else str(content())

    def _about_features(self) -> dict[str, Any]:
        preprocessing = self.model.preprocessing
        answer = [_bytes_of(self.probe.cls), _bytes_of(self.probe.patches)]
        return {
            "format": FORMAT,
            "weights": self.model.fingerprint,
            "answer": hashlib.sha256(b"".join(answer)).hexdigest(),
            "size_px": self.size_px,
            "fit": self.settings.fit,
            "mean_std": [preprocessing.mean, preprocessing.std],
            "precision": self.precision,
            "wanted": asdict(self.wanted),
        }


def _bytes_of(tensor: torch.Tensor | None) -> bytes:
    return b"" if tensor is None else tensor.float().cpu().contiguous().numpy().tobytes()


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
