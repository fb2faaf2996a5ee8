"""The same patch features as they are, with position taken out, and at Matryoshka prefixes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.evaluation.metrics import prefix_widths

_NARROW = re.compile(r"(.*)_d\d+")


@dataclass(frozen=True)
class Variant:
    """A linear map of patch features that is judged beside others."""

    suffix: str  # of its metrics, as in miou_rasa_d24; empty for the features as they are
    width: int  # dimensions that are kept, from the first on
    projector: Tensor | None = None  # [D, D], applied before they are cut

    def __call__(self, patches: Tensor) -> Tensor:
        """[…, D] to […, width]."""
        if self.projector is not None:
            patches = patches @ self.projector.to(patches)
        return patches[..., : self.width]

    def matrix(self, full_width: int) -> Tensor:
        """[D, width] float64: what patches are multiplied with."""
        return self(torch.eye(full_width, dtype=torch.float64))


def variants(width: int, projector: Tensor | None = None, *, prefixes: bool = False) -> list[Variant]:
    """What is judged: the features, beside them the disentangled ones where there is a projector, and their prefixes.

    The first is the headline.

    Args:
        width: D of the features.
        projector: [D, D]; disentangled features are patches @ projector.
        prefixes: Also judge d/2, … d/64 dimensions of each.
    """
    kinds = [("", None)] + ([] if projector is None else [("_rasa", projector)])
    found = [Variant(name, width, matrix) for name, matrix in kinds]
    if prefixes:
        found += [
            Variant(f"{name}_d{narrow}", narrow, matrix)
            for name, matrix in kinds
            for narrow in prefix_widths(width)[1:]
        ]
    return found


def is_prefix(name: str) -> bool:
    """Whether this is the suffix, or the metric, of a prefix: it ends in ``_d24`` or the like."""
    return _NARROW.fullmatch(name) is not None


def with_full_width(metrics: Mapping[str, float], width: int) -> dict[str, float]:
    """Metrics in the order a reader of prefixes wants: ``miou_d384`` beside ``miou``, then its narrower ones.

    Args:
        metrics: With those of prefixes, as in ``miou_d24``.
        width: D, the full width.
    """
    narrow: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        if match := _NARROW.fullmatch(name):
            narrow.setdefault(match[1], {})[name] = value
    found = {name: value for name, value in metrics.items() if not is_prefix(name)}
    for name, values in narrow.items():
        found |= {f"{name}_d{width}": metrics[name]} | values
    return found
