"""RASA heads as the authors of the paper release them, brought to our projector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.errors import CheckpointError
from franca.models.projector import Projector

WRAPPERS = ("module.", "model.", "head.", "rasa_head.")
EARLIER, LAST = re.compile(r"pre_pos_layers\.(\d+)\.weight"), "pos_pred.weight"
NAMES_SHOWN = 8


@dataclass(frozen=True, eq=False)
class ReleasedHead:
    """The position regressors of a released head.

    Attributes:
        weights: one [2, D] per round, in the order in which they are applied: ``pre_pos_layers`` 0, 1, … and then
            ``pos_pred``.
    """

    weights: tuple[Tensor, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], *, source: str) -> ReleasedHead:
        """Read a state dict with eight or nine ``pre_pos_layers``, or any other number.

        Args:
            tensors: by name, with or without the prefixes of the modules that held the head.
            source: the file, for messages.

        Raises:
            CheckpointError: it is no such head.
        """
        named = {_bare(name): tensor for name, tensor in tensors.items()}
        earlier = {int(match[1]): tensor for name, tensor in named.items() if (match := EARLIER.fullmatch(name))}
        unknown = [name for name in named if name != LAST and not EARLIER.fullmatch(name)]
        if unknown or LAST not in named or sorted(earlier) != list(range(len(earlier))):
            found = ", ".join(list(named)[:NAMES_SHOWN]) + (" and more" if len(named) > NAMES_SHOWN else "")
            raise CheckpointError(
                f"{source} is no RASA head: expected pre_pos_layers.0.weight, pre_pos_layers.1.weight, … and {LAST}, "
                f"found {found or 'nothing'}."
            )
        weights = (*(earlier[index] for index in sorted(earlier)), named[LAST])
        shapes = {tuple(weight.shape) for weight in weights}
        if len(shapes) > 1 or len(weights[0].shape) != 2 or len(weights[0]) != 2:
            raise CheckpointError(f"{source} is no RASA head: expected weights [2, D], found {sorted(shapes)}.")
        return cls(weights)

    @property
    def projector(self) -> Projector:
        """Removes the directions of all rounds."""
        return Projector.removing(torch.cat(self.weights))

    @property
    def sequential(self) -> Tensor:
        """[D, D] float64: what the authors' code does to a token, one round after the other.

        Each round removes its own two directions, orthonormal to each other alone. So a later round puts back a part of
        what an earlier one took out, and the product is neither symmetric nor the same when applied twice.
        """
        product = torch.eye(self.weights[0].shape[1], dtype=torch.float64)
        for weight in self.weights:
            product = Projector.removing(weight).matrix @ product
        return product

    @property
    def difference(self) -> float:
        """Largest length that a token of length 1 can differ by between the two."""
        return float(torch.linalg.matrix_norm(self.sequential - self.projector.matrix, ord=2))


def _bare(name: str) -> str:
    while wrapper := next((prefix for prefix in WRAPPERS if name.startswith(prefix)), None):
        name = name.removeprefix(wrapper)
    return name
