"""Nearest images and nearest patches, by cosine similarity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from franca.errors import DataError
from franca.features.patches import PatchTable
from franca.models.projector import Projector
from franca.viz.settings import NORM

BATCH_IMAGES = 64


@dataclass(frozen=True)
class Nearest:
    """The k nearest of each of q queries, best first."""

    images: Tensor  # [q, k] int64, rows of the table
    similarity: Tensor  # [q, k] cosine
    patches: Tensor | None = None  # [q, k] int64: which patch of each image, row by row; None = images as a whole


def nearest_images(embeddings: Tensor, queries: Tensor, k: int) -> Nearest:
    """The images most alike to some of them, without the image itself.

    Args:
        embeddings: [n, D].
        queries: [q] int64, rows of ``embeddings``.
        k: Less than n.

    Raises:
        DataError: A feature is NaN or infinite.
    """
    if not torch.isfinite(embeddings).all():
        raise DataError("class embeddings are NaN or infinite: the model is broken, or precision=fp32 is needed")
    unit = normalize(embeddings.float())
    similarity, images = _best(unit[queries] @ unit.T, queries, k)
    return Nearest(images, similarity)


def nearest_patches(
    table: PatchTable, queries: Tensor, points: Tensor, k: int, projector: Projector | None = None
) -> Nearest:
    """The most similar patch of each of the k images that have the most similar ones, the image itself left out.

    Args:
        table: Patches of n images.
        queries: [q] int64, images of the table.
        points: [q] int64, a patch in each, counted row by row.
        k: Less than n.
        projector: Compares what it leaves.

    Raises:
        DataError: A feature is NaN or infinite.
    """
    places = zip(queries.tolist(), points.tolist(), strict=True)
    wanted = torch.stack([_unit(table, image, image + 1, projector)[0, point] for image, point in places])  # [q, D]
    best, which = [], []
    for first in range(0, len(table), BATCH_IMAGES):
        similarity = _unit(table, first, first + BATCH_IMAGES, projector) @ wanted.T  # [B, N, q]
        highest = similarity.max(dim=1)
        best.append(highest.values)
        which.append(highest.indices)
    similarity, images = _best(torch.cat(best).T, queries, k)
    return Nearest(images, similarity, torch.cat(which).T.gather(1, images))


def patch_at(x: float, y: float, grid: tuple[int, int]) -> int:
    """The patch at a place, as fractions of width and height from the top left, counted row by row."""
    rows, columns = grid
    return min(int(y * rows), rows - 1) * columns + min(int(x * columns), columns - 1)


def chosen_points(table: PatchTable, queries: Tensor, point: str) -> Tensor:
    """One patch [q] int64 of each query: in the ``centre``, or that with the largest ``norm``."""
    if point != NORM:
        return torch.full_like(queries, patch_at(0.5, 0.5, table.grid))
    norms = [table.batch(int(image), int(image) + 1).patches.norm(dim=-1) for image in queries]
    return torch.stack([norm.flatten().argmax() for norm in norms])


def _unit(table: PatchTable, first: int, end: int, projector: Projector | None) -> Tensor:
    """Patches of some images as unit vectors [B, N, D]."""
    patches = table.batch(first, end).patches.flatten(1, 2)
    return normalize(patches if projector is None else projector(patches), dim=-1)


def _best(similarity: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row [q, n] but for the query itself; among equals the first."""
    others = similarity.scatter(1, queries[:, None], -torch.inf)
    values, images = others.sort(dim=1, descending=True, stable=True)
    return values[:, :k], images[:, :k]
