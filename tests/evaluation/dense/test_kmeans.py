"""K-means against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans

from franca.evaluation.dense import kmeans as module
from franca.evaluation.dense.kmeans import kmeans


def blobs(n: int = 600, num_blobs: int = 12, width: int = 6, *, spread: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(num_blobs, width, generator=generator)
    return centres[torch.arange(n) % num_blobs] + spread * torch.randn(n, width, generator=generator)


@pytest.mark.parametrize("num_clusters", [2, 12, 40])
def test_as_tight_as_scikit_learns(num_clusters: int) -> None:
    points = blobs()
    reference = KMeans(num_clusters, n_init=5, random_state=0).fit(points.double().numpy()).inertia_
    found = kmeans(points, num_clusters, seed=0, restarts=5)
    assert found.inertia == pytest.approx(reference, rel=0.02)
    nearest = torch.cdist(points.double(), found.centres.double()).square().min(1)
    assert found.inertia == pytest.approx(float(nearest.values.sum()), rel=1e-4)
    assert torch.equal(found.assign(points), nearest.indices)


def test_the_same_start_ends_where_scikit_learns_does() -> None:
    points = blobs(spread=3.0)
    start = points[:9]
    reference = KMeans(9, init=start.numpy(), n_init=1, max_iter=300, tol=0).fit(points.numpy())
    found = module._lloyd(points, start, 300, 0.0)
    assert found.inertia == pytest.approx(reference.inertia_, rel=1e-5)
    torch.testing.assert_close(found.centres, torch.from_numpy(reference.cluster_centers_), atol=1e-4, rtol=1e-4)


def test_far_from_the_origin() -> None:
    points = blobs()
    near, far = kmeans(points, 12, seed=0, restarts=3), kmeans(points + 1000, 12, seed=0, restarts=3)
    assert far.inertia == pytest.approx(near.inertia, rel=0.01)
    assert torch.equal(far.assign(points + 1000), near.assign(points))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kmeans(blobs(), 12, seed=3)
    monkeypatch.setattr(module, "MAX_DISTANCES", 7 * 12)
    parts = kmeans(blobs(), 12, seed=3)
    torch.testing.assert_close(parts.centres, whole.centres, atol=1e-4, rtol=1e-4)


def test_seeds_repeat_and_differ() -> None:
    points = blobs(spread=4.0)
    assert torch.equal(kmeans(points, 12, seed=1).centres, kmeans(points, 12, seed=1).centres)
    assert not torch.equal(kmeans(points, 12, seed=1).centres, kmeans(points, 12, seed=2).centres)


def test_as_many_clusters_as_points() -> None:
    points = blobs(12)
    found = kmeans(points, 12, seed=0)
    assert found.inertia == pytest.approx(0, abs=1e-6)
    assert sorted(found.assign(points).tolist()) == list(range(12))


def test_points_that_are_all_alike() -> None:
    found = kmeans(torch.ones(20, 3), 4, seed=0)
    assert found.inertia == pytest.approx(0, abs=1e-6) and torch.isfinite(found.centres).all()


def test_an_empty_cluster_takes_the_farthest_point() -> None:
    points = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    found = module._lloyd(points, torch.tensor([[0.0], [1.0], [1000.0]]), 10, 0.0)
    assert sorted(found.centres[:, 0].tolist()) == pytest.approx([0.5, 2.0, 50.0], abs=0.6)
    assert len(set(found.assign(points).tolist())) == 3
