"""Options of feature extraction, shared by every command that computes features."""

from __future__ import annotations

from dataclasses import dataclass

from franca.config.schema import option


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which weights the judged model gets."""

    pretrained: bool = True
    """False takes random weights, for a model that is named."""
    weights: str | None = None
    """A name of released weights, a file or a URL, for a model that is named; None takes its default."""
    rasa: str | None = None
    """A file of ``franca rasa fit``: patch features are also judged without their position, beside the raw ones."""


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Which images, beyond where they are."""

    masks: str | None = None
    """The folder of masks beside ``JPEGImages``, for a data set laid out as Pascal VOC that has several; None takes
    ``SegmentationClass``."""


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """How images become features."""

    image_size_px: int | list[int] | None = option(None, low=8)
    """Size that images are brought to, in pixels: one number for a square, or [height, width]; None takes the size the
    model was made for."""
    fit: str = option("crop", choices=("crop", "stretch"))
    """``crop`` brings the short side to 256/224 of the size and cuts out the centre; ``stretch`` shows the whole image
    in whatever shape the size has. Masks go along."""
    batch_size: int = option(128, low=1)
    """Images per forward; changes speed and memory only."""
    workers: int | None = option(None, low=0)
    """Processes that read images for each rank; None takes one less than its share of the cores, at most 8; 0 reads in
    the main process."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = option("auto", choices=("auto", "fp32", "bf16", "fp16"))
    """Precision of matrix products; ``auto`` is bf16 where the device multiplies it natively."""
    cache: bool = True
    """Keep features on disk and take them from there when model, images and transform are the same."""
    cache_gib: float = option(20.0, low=0)
    """Most that kept features may take up, in GiB; those not used for longest go first."""
