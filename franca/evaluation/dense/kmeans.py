"""K-means: Lloyd's iterations from k-means++ seeds, in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_DISTANCES = 1 << 24  # held at once: 64 MiB in fp32


@dataclass(frozen=True)
class Clusters:
    """What k-means found."""

    centres: Tensor  # [K, D]
    inertia: float  # sum of squared distances of the points to their centres
    num_iterations: int

    def assign(self, points: Tensor) -> Tensor:
        """Index of the nearest centre, [n] int64.

        Args:
            points: [n, D].
        """
        return _nearest(points - self.centres.mean(0), self.centres - self.centres.mean(0))[0]


def kmeans(
    points: Tensor,
    num_clusters: int,
    *,
    seed: int,
    restarts: int = 1,
    max_iterations: int = 100,
    tolerance: float = 1e-4,
    step: Callable[[], None] = lambda: None,
) -> Clusters:
    """The best of several runs of k-means.

    Args:
        points: [n, D], n >= ``num_clusters``.
        num_clusters: K.
        seed: Of the seeds of all runs.
        restarts: Runs, of which the one with the smallest inertia is kept.
        max_iterations: Of a run.
        tolerance: A run ends when its centres move by less than this times the mean variance of a dimension, squared
            and summed over all centres; this is scikit-learn's rule.
        step: Called after every iteration.

    Source:
        Arthur and Vassilvitskii, k-means++ (2007), with several candidates for each seed.
    """
    generator = torch.Generator().manual_seed(seed)
    centre = points.mean(0)
    points = points - centre  # distances are differences of large numbers far from the origin
    limit = tolerance * float(points.var(0, correction=0).mean())
    runs = (
        _lloyd(points, _seeds(points, num_clusters, generator), max_iterations, limit, step) for _ in range(restarts)
    )
    best = min(runs, key=lambda run: run.inertia)
    return Clusters(best.centres + centre, best.inertia, best.num_iterations)


def _lloyd(
    points: Tensor, centres: Tensor, max_iterations: int, limit: float, step: Callable[[], None] = lambda: None
) -> Clusters:
    """Means of nearest points, again and again; the last assignment belongs to the centres that are given back."""
    nearest, distances = _nearest(points, centres)
    iterations = 0
    for iterations in range(1, max_iterations + 1):  # noqa: B007 - how many it took is told
        before, centres = centres, _means(points, nearest, distances, len(centres))
        unchanged = nearest
        nearest, distances = _nearest(points, centres)
        step()
        if torch.equal(nearest, unchanged) or float((centres - before).square().sum()) <= limit:
            break
    return Clusters(centres, _inertia(points, centres, nearest), iterations)


def _inertia(points: Tensor, centres: Tensor, nearest: Tensor) -> float:
    """Sum of squared distances, from differences rather than from products, which would round them."""
    chunks = _chunks(len(points), points.shape[1])
    return sum(float((points[rows] - centres[nearest[rows]]).double().square().sum()) for rows in chunks)


def _means(points: Tensor, nearest: Tensor, distances: Tensor, num_clusters: int) -> Tensor:
    """Mean of the points of each cluster; an empty cluster takes the point that lies farthest from its centre."""
    sizes = torch.bincount(nearest, minlength=num_clusters)
    empty = (sizes == 0).nonzero()[:, 0]
    if len(empty):
        far = distances.topk(len(empty)).indices
        nearest = nearest.clone()
        nearest[far] = empty
        sizes = torch.bincount(nearest, minlength=num_clusters)
    sums = points.new_zeros(num_clusters, points.shape[1])
    for rows in _chunks(len(points), num_clusters):
        # A product instead of index_add_, whose order of summation changes from run to run on a GPU.
        sums += torch.nn.functional.one_hot(nearest[rows], num_clusters).to(points).T @ points[rows]
    return sums / sizes.clamp(min=1)[:, None]  # taking a cluster's only point away leaves it at the centre of all


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest centre [n], and the squared distance to it [n]."""
    offset = centres.square().sum(1)  # [K]
    nearest = torch.empty(len(points), dtype=torch.int64, device=points.device)
    distances = torch.empty(len(points), dtype=points.dtype, device=points.device)
    for rows in _chunks(len(points), len(centres)):
        closest = torch.addmm(offset, points[rows], centres.T, alpha=-2).min(1)  # squared distance minus |point|^2
        nearest[rows] = closest.indices
        distances[rows] = (closest.values + points[rows].square().sum(1)).clamp(min=0)
    return nearest, distances


def _seeds(points: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """K of the points, far from each other: each is the best of a few, drawn in proportion to the squared distance."""
    num_candidates = 2 + int(math.log(num_clusters))
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    distances = (points - points[chosen[0]]).square().sum(1)  # [n], to the nearest seed
    norms = points.square().sum(1)
    for _ in range(num_clusters - 1):
        mass = distances.double().cumsum(0)
        draws = torch.rand(num_candidates, generator=generator, dtype=torch.float64).to(mass) * mass[-1]
        candidates = torch.searchsorted(mass, draws).clamp(max=len(points) - 1)
        to_candidates = torch.addmm(norms[:, None], points, points[candidates].T, alpha=-2) + norms[candidates]
        closer = torch.minimum(distances[:, None], to_candidates.clamp(min=0))  # [n, candidates]
        best = int(closer.sum(0).argmin())
        chosen.append(int(candidates[best]))
        distances = closer[:, best]
    return points[chosen].clone()


def _chunks(num_rows: int, num_columns: int) -> list[slice]:
    size = max(1, MAX_DISTANCES // num_columns)
    return [slice(start, start + size) for start in range(0, num_rows, size)]
