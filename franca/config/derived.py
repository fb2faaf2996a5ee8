"""Values that follow from several options, when they are not given outright."""

from __future__ import annotations

from franca.config.architectures import ARCHITECTURES
from franca.config.schema import Config, ModelConfig


def width(model: ModelConfig) -> int:
    """Embedding dimension D."""
    return model.width or ARCHITECTURES[model.arch].width


def num_heads(model: ModelConfig) -> int:
    """Attention heads."""
    return model.num_heads or ARCHITECTURES[model.arch].num_heads


def micro_batch(config: Config) -> int:
    """Images per forward and backward."""
    return config.performance.micro_batch or config.train.global_batch


def koleo_group_size(config: Config) -> int:
    """Images among which KoLeo looks for neighbours; it follows the global batch alone, so that a smaller
    micro-batch does not change the loss."""
    batch = config.train.global_batch
    largest = max(size for size in range(1, min(batch, 32) + 1) if batch % size == 0)
    return config.objective.koleo_group_size or largest
