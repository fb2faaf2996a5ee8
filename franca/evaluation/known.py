"""What is known before features are computed, so that what cannot be judged is told before the wait, not after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.data.sample import Source

ClassCounts = Mapping[str, int]  # images of each class by its name; classes without any are left out


@dataclass(frozen=True)
class Known:
    """What sources and the model say of themselves; images that turn out unreadable are counted."""

    num_images: Mapping[str, int]  # by role
    class_counts: Mapping[str, ClassCounts]  # by role; of sources that know their labels without reading images
    width: int | None = None  # D of the model's embeddings; None = it was not asked yet

    @classmethod
    def of(cls, sources: Mapping[str, Source], width: int | None = None) -> Known:
        """Asks the sources, by role; no image is read."""
        counts = {role: _counts_of(source) for role, source in sources.items()}
        return cls(
            {role: len(source) for role, source in sources.items()},
            {role: found for role, found in counts.items() if found is not None},
            width,
        )


def count_classes(labels: Tensor, names: Sequence[str]) -> ClassCounts:
    """Images of each class that has some.

    Args:
        labels: [n] int64, index into ``names``; below 0 = unknown.
    """
    counts = labels[labels >= 0].bincount(minlength=len(names)).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def _counts_of(source: Source) -> ClassCounts | None:
    labels = getattr(source, "labels", None)
    if labels is None or source.class_names is None:
        return None
    return count_classes(torch.as_tensor(labels), source.class_names)
