"""A linear layer behind patch tokens, with the projector that takes position out of them folded into its weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from franca.errors import CheckpointError, ConfigError, ExportError
from franca.models.projector import Projector
from franca.models.safetensors import write_safetensors
from franca.models.tensor_file import read_tensors

WEIGHT, BIAS = "weight", "bias"
NUM_TOKENS = 256  # random ones, that both ways are compared on


@dataclass(frozen=True, eq=False)
class FoldedHead:
    """The layer as it goes into a file.

    Attributes:
        tensors: its state, by the names that it had.
        difference: from the layer behind the projector, over the largest value, on random tokens.
    """

    tensors: Mapping[str, Tensor]
    difference: float

    def write(self, out: Path) -> Path:
        """Write the layer beside an export; gives the file."""
        write_safetensors(folded_path(out), self.tensors)
        return folded_path(out)


def folded_path(out: Path) -> Path:
    """Where the layer lies that belongs to an export."""
    return out.with_name(f"{out.stem}_head.safetensors")


def check_folded_place(out: Path, *, overwrite: bool) -> None:
    """Raises a ConfigError where the layer would replace a file that may not be replaced."""
    if folded_path(out).exists() and not overwrite:
        raise ConfigError(f"{folded_path(out)} exists: name another place, or replace it with --overwrite.")


def fold_head(head: Path, projector: Projector, *, tolerance: float) -> FoldedHead:
    """The layer that gives on raw patch tokens what ``head`` gives on projected ones.

    Args:
        head: a file with the state of one linear layer, ``weight`` [K, D] and maybe ``bias`` [K], or of a 1x1
            convolution, ``weight`` [K, D, 1, 1]. Names may have a prefix, and keep it.
        projector: of the backbone.
        tolerance: allowed difference, over the largest value, on random tokens.

    Raises:
        CheckpointError: ``head`` is no such file, or for features of another width.
        ExportError: the two differ by more.
    """
    tensors, _ = read_tensors(head)
    name = _weight_name(tensors, head)
    weight = tensors[name]
    if weight.shape[1] != projector.width:
        raise CheckpointError(f"{head} reads features of width {weight.shape[1]}, the backbone has {projector.width}.")
    flat = weight.flatten(1)  # [K, D]
    folded = projector.fold(flat)
    difference = compare(flat, folded, projector)
    if not difference <= tolerance:
        raise ExportError(
            f"folded into {head}, the projector gives {difference:.1e} of the largest value off, allowed is "
            f"{tolerance:.1e}. If that is close enough, raise --tolerance."
        )
    return FoldedHead({**tensors, name: folded.view_as(weight)}, difference)


def compare(weight: Tensor, folded: Tensor, projector: Projector) -> float:
    """Largest difference over the largest value of both ways on random tokens, in the type of the weights."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(NUM_TOKENS, projector.width, generator=generator).to(weight.dtype)
    expected, found = projector(tokens) @ weight.T, tokens @ folded.T
    return float((expected - found).abs().max() / expected.abs().max())


def _weight_name(tensors: Mapping[str, Tensor], path: Path) -> str:
    """The name of the weight of the one linear layer in a file."""
    weights = [name for name in tensors if name.rpartition(".")[2] == WEIGHT]
    prefix = weights[0].removesuffix(WEIGHT) if len(weights) == 1 else ""
    fitting = len(weights) == 1 and set(tensors) <= {weights[0], prefix + BIAS}
    if not fitting or tensors[weights[0]].ndim not in (2, 4) or tensors[weights[0]][0, 0].numel() != 1:
        found = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise CheckpointError(
            f"{path} is no linear layer: expected {WEIGHT} [K, D] or [K, D, 1, 1] and maybe {BIAS} [K], found "
            f"{found or 'nothing'}. What stands between, such as a norm, must be multiplied into it first."
        )
    return weights[0]
