"""Matryoshka heads: every level reads a prefix of the embedding and clusters it on its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from franca.objective.logits import sum_dtype
from franca.objective.prototypes import Prototypes


class Projection(nn.Module):
    """A DINO head up to its bottleneck: an MLP whose output has unit length."""

    def __init__(self, width: int, *, hidden: int, bottleneck: int, num_layers: int, normalize: bool) -> None:
        super().__init__()
        sizes = [width, *[hidden] * (num_layers - 1), bottleneck]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.normalize = normalize

    def forward(self, x: Tensor) -> Tensor:
        """[R, width] -> [R, bottleneck]."""
        for layer in self.layers[:-1]:
            x = F.gelu(layer(x))
        x = self.layers[-1](x)
        # The authors' release neither normalises nor stops before the last GELU.
        return F.normalize(x.to(sum_dtype(x)), dim=-1) if self.normalize else F.gelu(x)


class Prefix(nn.Module):
    """The first ``width`` dimensions of a token, untouched."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """[R, D] -> [R, width]."""
        return x[..., : self.width]


def _reader(kind: str, embed_dim: int, width: int) -> nn.Module:
    """What a level sees of the token: the paper's slice, or one of the authors' two released forms."""
    if kind == "slice":
        return Prefix(width)
    if kind == "project":
        return nn.Linear(embed_dim, width)
    return nn.Sequential(Prefix(width), nn.Linear(width, width))


class MatryoshkaHead(nn.Module):
    """One projection and one set of prototypes per level of a nested embedding.

    Level j reads the first m_j of D dimensions and has prototypes in proportion, so the first dimensions serve every
    level and the embedding can be cut at any of them. One level of width D is the head of DINOv2.

    Args:
        embed_dim: D.
        widths: m_j of every level, widest first.
        num_prototypes: K_j of every level.
        hidden: Hidden width of the projections.
        bottleneck: Width b of the bottleneck.
        num_layers: Linear layers of a projection, at least 1.
        reads: ``slice`` (the paper), ``project`` or ``slice_project`` (the authors' releases).
        normalize: Whether bottlenecks have unit length (the paper).

    Source: Franca 2.1 and appendix B. The releases differ from the paper in ``reads`` and ``normalize``.
    """

    prototypes: Sequence[Prototypes]  # an nn.ModuleList

    def __init__(
        self,
        embed_dim: int,
        widths: Sequence[int],
        num_prototypes: Sequence[int],
        *,
        hidden: int,
        bottleneck: int,
        num_layers: int = 3,
        reads: str = "slice",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.readers = nn.ModuleList(_reader(reads, embed_dim, width) for width in widths)
        self.projections = nn.ModuleList(
            Projection(width, hidden=hidden, bottleneck=bottleneck, num_layers=num_layers, normalize=normalize)
            for width in widths
        )
        self.prototypes = nn.ModuleList(  # type: ignore[assignment]
            Prototypes(count, bottleneck) for count in num_prototypes
        )

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Bottleneck features of every level: [R, D] -> L tensors [R, b]."""
        return [project(read(tokens)) for read, project in zip(self.readers, self.projections, strict=True)]
