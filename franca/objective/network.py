"""One side of the student-teacher pair: a backbone with its Matryoshka heads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from franca.layers.initialization import STD, initialize
from franca.models.vision_transformer import VisionTransformer
from franca.objective.heads import MatryoshkaHead


class Network(nn.Module):
    """A backbone and one Matryoshka head per clustering loss, by the loss's name."""

    heads: Mapping[str, MatryoshkaHead]  # an nn.ModuleDict

    def __init__(self, backbone: VisionTransformer, heads: Mapping[str, MatryoshkaHead]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)  # type: ignore[assignment]

    def initialize(self, seed: int, *, std: float = STD) -> None:
        """Draw every parameter from ``seed``, the backbone first, then the heads.

        Args:
            seed: of the random numbers.
            std: standard deviation of the weights of linear layers.
        """
        initialize(self, seed, std=std)

    def parts(self) -> dict[str, nn.Module]:
        """The parts whose gradients are clipped and reported separately."""
        return {"backbone": self.backbone, **{f"{name}_head": head for name, head in self.heads.items()}}
