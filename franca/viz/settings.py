"""Options of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from franca.config.schema import SyntheticConfig, option
from franca.features.settings import FeatureSettings, ModelSettings

CENTRE, NORM, NONE = POINTS = ("centre", "norm", "none")


@dataclass(frozen=True, kw_only=True)
class PictureSettings(ModelSettings):
    """Which images are drawn, and how the model sees them, one at a time."""

    num_images: int | None = option(32, low=1)
    """Images to draw, spread evenly over SRC; null draws all."""
    image_size_px: int | list[int] | None = option(None, low=1)
    """Size of the model's input, in pixels: one number for a square, or [height, width]; null takes the size the model
    was made for. More pixels give finer maps."""
    fit: str = option("keep", choices=("keep", "crop", "stretch"))
    """``keep`` shows the whole image in its own shape, with about as many pixels as ``image_size_px`` has; ``crop``
    cuts the centre out; ``stretch`` shows the whole image in the shape of ``image_size_px``."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = option("auto", choices=("auto", "fp32", "bf16", "fp16"))
    """Precision of matrix products; ``auto`` is bf16 where the device multiplies it natively."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The drawn images, for SRC ``synthetic``."""


@dataclass(frozen=True, kw_only=True)
class PcaSettings(PictureSettings):
    """Options of ``franca viz pca``."""

    foreground: bool = False
    """Colour only patches in front; the first component of all patches tells them from the background."""
    threshold: float | None = None
    """Where the foreground begins, in standard deviations of that component above its mean; null finds the value that
    parts patches into the two most different halves."""


@dataclass(frozen=True, kw_only=True)
class AttentionSettings(PictureSettings):
    """Options of ``franca viz attention``."""


@dataclass(frozen=True, kw_only=True)
class NeighbourSettings(FeatureSettings, ModelSettings):
    """Options of ``franca viz neighbours``."""

    num_images: int | None = option(8, low=1)
    """Images whose neighbours are drawn, spread evenly over those that are searched; null takes all."""
    search_images: int | None = option(1000, low=2)
    """Images among which neighbours are looked for, spread evenly over SRC; null takes all."""
    k: int = option(6, low=1)
    """Neighbours of each."""
    point: str = option(CENTRE, choices=POINTS)
    """The patch whose neighbours are drawn: in the ``centre``, with the largest ``norm``, or ``none``."""
    points: list[float] | None = option(None, low=0, high=1)
    """Patches instead of that one, by places in the image: [x, y, x, y, …], as fractions of width and height from the
    top left."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The drawn images, for SRC ``synthetic``."""
