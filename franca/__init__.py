"""Self-supervised pretraining of vision transformers, and their use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from franca.models.vision_transformer import VisionTransformer

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    name_or_path: str | os.PathLike[str],
    *,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    rasa: str | os.PathLike[str] | None = None,
    verbose: bool = True,
    **overrides: Any,
) -> VisionTransformer:
    """Load a backbone in evaluation mode; see `franca.models.hub.load`."""
    from franca.models import hub

    return hub.load(
        name_or_path,
        pretrained=pretrained,
        weights=weights,
        mean=mean,
        std=std,
        rasa=rasa,
        verbose=verbose,
        **overrides,
    )
