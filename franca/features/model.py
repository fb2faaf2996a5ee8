"""One interface to any backbone: images in; class embeddings of the last blocks and a map of patch embeddings out.

- `TimmReader`: a backbone with ``forward_features`` and ``forward_head``, as timm's have. Class embedding: what its
  classifier would read; patches: its tokens or its last map.
- `BlocksReader`: one with ``blocks`` and ``get_intermediate_layers(…, return_class_token)``, as ours and DINOv2's have.
- `EmbeddingReader`: any other, which maps images [B, 3, H, W] to embeddings [B, D] and has no patches.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from franca.errors import ConfigError, DataError
from franca.features.foreign import explain_failure
from franca.models.fingerprint import fingerprint
from franca.models.preprocessing import Preprocessing
from franca.models.vision_transformer import VisionTransformer

UNSTATED = Preprocessing()  # for a model that does not say what it was made for: 224 px, ImageNet's mean and std


@dataclass(frozen=True)
class ImageFeatures:
    """What a backbone says of a batch of images, all after its last norm."""

    cls: Tensor  # [B, L, D]: class embeddings of the last L blocks, last block last
    patches: Tensor | None  # [B, h, w, D]: patch embeddings of the last block; None = the model has none


class Reader(Protocol):
    """How features are had from one family of backbones."""

    num_blocks: int
    """Blocks whose class embedding can be had; 1 for a model that only maps images to embeddings."""
    patch_size_px: int | None
    """Side of a patch; None = unknown, or there are none."""

    def read(self, images: Tensor, layers: int, *, patches: bool) -> ImageFeatures:
        """Features of images [B, C, H, W] with class embeddings of the last ``layers`` blocks.

        Without ``patches`` nobody looks at the patch embeddings, and they may be left out.
        """
        ...


class FeatureModel:
    """Any backbone, behind one interface.

    Args:
        backbone: See the table above for what it must offer. It is put into eval mode.
        name: How messages call it.
    """

    def __init__(self, backbone: nn.Module, name: str = "the model") -> None:
        self.backbone = backbone.eval()
        self.name = name
        self._reader = reader_of(self.backbone)

    @property
    def num_blocks(self) -> int:
        """Blocks whose class embedding can be had."""
        return self._reader.num_blocks

    @property
    def patch_size_px(self) -> int | None:
        """Side of a patch; None = unknown, or there are none."""
        return self._reader.patch_size_px

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Image size, mean and std that the backbone was made for."""
        stated = getattr(self.backbone, "preprocessing", None)
        return stated if isinstance(stated, Preprocessing) else UNSTATED

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        return fingerprint(self.backbone)

    def to(self, device: torch.device) -> FeatureModel:
        """Moves the backbone.

        Raises:
            OutOfMemory: It does not fit there.
        """
        with explain_failure(f"{self.name} cannot be moved to {device}", "Expected a model that any device can run"):
            self.backbone.to(device)
        return self

    def __call__(self, images: Tensor, layers: int = 1, *, patches: bool = True) -> ImageFeatures:
        """Features of normalised images.

        Args:
            images: [B, C, H, W], float.
            layers: Class embeddings of so many last blocks, or of all if it has fewer.
            patches: Whether the patch embeddings are looked at; without them some models are faster.

        Raises:
            ConfigError: The model returns something else than embeddings.
        """
        features = self._reader.read(images, min(layers, self.num_blocks), patches=patches)
        self._check(features.cls[:, -1], len(images))
        return features

    def _check(self, embedding: Tensor, num_images: int) -> None:
        if embedding.dim() != 2 or len(embedding) != num_images or not embedding.is_floating_point():
            raise ConfigError(
                f"{self.name} returns {embedding.dtype} {list(embedding.shape)} for {num_images} images; expected "
                f"embeddings, floating point [{num_images}, D]"
            )


def check_image_size(model: FeatureModel, size_px: tuple[int, int]) -> None:
    """Raises a DataError where the patches of the model do not tile images of this height and width."""
    patch_px = model.patch_size_px
    if patch_px is None or not any(side % patch_px for side in size_px):
        return
    below = [max(1, side // patch_px) * patch_px for side in size_px]
    above = [-(-side // patch_px) * patch_px for side in size_px]
    asked, low, high = (_size_text(size) for size in (size_px, below, above))
    raise DataError(
        f"image_size_px={asked} is not a multiple of the model's patch size, {patch_px} px; "
        f"try image_size_px={low} or image_size_px={high}"
    )


def reader_of(backbone: nn.Module) -> Reader:
    """How to read this backbone."""
    if hasattr(backbone, "forward_features") and hasattr(backbone, "forward_head"):
        return TimmReader(backbone)
    if hasattr(backbone, "blocks") and _takes(backbone, "get_intermediate_layers", "return_class_token"):
        return BlocksReader(backbone)
    return EmbeddingReader(backbone)


class BlocksReader:
    """A vision transformer of ours or of DINOv2."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self.num_blocks = len(backbone.blocks)
        self.patch_size_px: int | None = getattr(backbone, "patch_size_px", None) or backbone.patch_size
        # Others may have a head there, which is no embedding any more.
        self._forward_gives_class = type(backbone).forward is VisionTransformer.forward

    def read(self, images: Tensor, layers: int, *, patches: bool) -> ImageFeatures:
        """See `Reader`."""
        if layers == 1 and not patches and self._forward_gives_class:
            return ImageFeatures(self._backbone(images)[:, None], None)
        outputs = self._backbone.get_intermediate_layers(images, n=layers, return_class_token=True)
        tokens = as_map(outputs[-1][0], images, self.patch_size_px)
        return ImageFeatures(torch.stack([cls for _, cls in outputs], dim=1), tokens)


class TimmReader:
    """A model of timm: transformers with class token give several blocks, all others what their classifier reads."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._num_prefix = int(getattr(backbone, "num_prefix_tokens", 0))  # class token and registers
        reads_class_token = getattr(backbone, "global_pool", None) == "token" and self._num_prefix > 0
        self._has_blocks = reads_class_token and _gives_prefix_tokens(backbone)
        self.num_blocks = len(backbone.blocks) if self._has_blocks else 1
        side = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
        self.patch_size_px: int | None = int(side[0]) if hasattr(backbone, "blocks") and side is not None else None

    def read(self, images: Tensor, layers: int, *, patches: bool) -> ImageFeatures:
        """See `Reader`."""
        try:
            return self._read_blocks(images, layers) if self._has_blocks else self._read_last(images)
        except AssertionError as error:  # its way to say that an image has the wrong size
            raise DataError(f"the model does not take images of {list(images.shape[-2:])} px: {error}") from error

    def _read_blocks(self, images: Tensor, layers: int) -> ImageFeatures:
        outputs = self._backbone.forward_intermediates(
            images, indices=layers, return_prefix_tokens=True, norm=True, output_fmt="NLC", intermediates_only=True
        )
        patches = self._as_map(outputs[-1][0], images)
        return ImageFeatures(torch.stack([prefix[:, 0] for _, prefix in outputs], dim=1), patches)

    def _read_last(self, images: Tensor) -> ImageFeatures:
        features = self._backbone.forward_features(images)
        embedding = self._backbone.forward_head(features, pre_logits=True)
        return ImageFeatures(embedding[:, None], self._as_map(features, images, self._num_prefix))

    def _as_map(self, features: Tensor, images: Tensor, num_prefix: int = 0) -> Tensor | None:
        """[B, h, w, D] from tokens, or from a map whose channels come first or last; None for anything else."""
        if features.dim() == 4:
            channels = getattr(self._backbone, "num_features", None)
            return features.permute(0, 2, 3, 1) if features.shape[1] == channels else features
        if features.dim() != 3 or self.patch_size_px is None:
            return None
        return as_map(features[:, num_prefix:], images, self.patch_size_px)


class EmbeddingReader:
    """A model that maps images to embeddings and offers nothing else."""

    def __init__(self, backbone: nn.Module) -> None:
        self._backbone = backbone
        self.num_blocks = 1
        self.patch_size_px: int | None = None

    def read(self, images: Tensor, layers: int, *, patches: bool) -> ImageFeatures:
        """See `Reader`."""
        embedding = self._backbone(images)
        if not isinstance(embedding, Tensor):
            raise ConfigError(
                f"the model returns {type(embedding).__name__} for images {list(images.shape)}; expected a tensor of "
                "embeddings [B, D]"
            )
        return ImageFeatures(embedding[:, None], None)


def _gives_prefix_tokens(backbone: Any) -> bool:
    """Whether the class token of earlier blocks can be had."""
    return _takes(backbone, "forward_intermediates", "return_prefix_tokens")


def _takes(backbone: Any, method: str, argument: str) -> bool:
    """Whether it has a method with such an argument; models of the same family differ here."""
    function = getattr(backbone, method, None)
    return function is not None and argument in inspect.signature(function).parameters


def as_map(tokens: Tensor, images: Tensor, patch_size_px: int | None) -> Tensor:
    """Patch tokens [B, N, D] of images [B, C, H, W] as [B, h, w, D]."""
    assert patch_size_px is not None
    rows, columns = (side // patch_size_px for side in images.shape[-2:])
    return tokens.reshape(len(tokens), rows, columns, -1)


def _size_text(size: tuple[int, int] | list[int]) -> str:
    """``224`` for a square, ``[224,280]`` otherwise, as it is written on a command line."""
    return str(size[0]) if size[0] == size[1] else f"[{size[0]},{size[1]}]"
