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


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """How images become features."""

    image_size_px: int | None = option(None, low=8)
    """Height and width that images are brought to, in pixels; None takes the size the model was made for."""
    batch_size: int = option(128, low=1)
    """Images per forward; changes speed and memory only."""
    workers: int | None = option(None, low=0)
    """Processes that read images; None takes one less than the cores, at most 8; 0 reads in the main process."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = option("auto", choices=("auto", "fp32", "bf16", "fp16"))
    """Precision of matrix products; ``auto`` is bf16 where the device multiplies it natively."""
