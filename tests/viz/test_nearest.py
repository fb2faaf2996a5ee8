"""Nearest images and patches, by loops over all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from franca.errors import DataError
from franca.features.patches import PatchTable
from franca.models.projector import Projector
from franca.viz.nearest import chosen_points, nearest_images, nearest_patches, patch_at


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_images_by_hand() -> None:
    embeddings = random(9, 5)
    found = nearest_images(embeddings, torch.tensor([2, 7]), 3)
    for number, query in enumerate((2, 7)):
        others = [
            (float(cosine_similarity(embeddings[query], row, dim=0)), image)
            for image, row in enumerate(embeddings)
            if image != query
        ]
        best = sorted(others, reverse=True)[:3]
        assert found.images[number].tolist() == [image for _, image in best]
        assert found.similarity[number].tolist() == pytest.approx([value for value, _ in best], abs=1e-6)


@pytest.mark.parametrize("projected", [False, True])
def test_patches_by_hand_one_an_image(projected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("franca.viz.nearest.BATCH_IMAGES", 4)  # borders between batches too
    patches = random(10, 2, 3, 6)
    projector = Projector.removing(torch.eye(6)[:2]) if projected else None
    seen = patches[..., 2:] if projected else patches  # what the projector leaves has zeros in the other dimensions
    queries, points = torch.tensor([0, 9]), torch.tensor([4, 1])
    found = nearest_patches(PatchTable.of(patches), queries, points, 4, projector)
    assert found.patches is not None
    for number, (query, point) in enumerate(((0, 4), (9, 1))):
        vector = seen[query].flatten(0, 1)[point]
        best = []
        for image in range(10):
            values = [float(cosine_similarity(vector, row, dim=0)) for row in seen[image].flatten(0, 1)]
            best.append((max(values), image, values.index(max(values))))
        best = sorted((entry for entry in best if entry[1] != query), reverse=True)[:4]
        assert found.images[number].tolist() == [image for _, image, _ in best]
        assert found.patches[number].tolist() == [patch for _, _, patch in best]
        assert found.similarity[number].tolist() == pytest.approx([value for value, _, _ in best], abs=1e-5)


def test_among_equals_the_first() -> None:
    assert nearest_images(torch.ones(5, 3), torch.tensor([1]), 3).images.tolist() == [[0, 2, 3]]


def test_points() -> None:
    assert [patch_at(x, y, (2, 5)) for x, y in ((0.0, 0.0), (1.0, 0.0), (0.5, 0.49), (1.0, 1.0))] == [0, 4, 2, 9]
    patches = random(3, 2, 5, 4)
    patches[1, 1, 3] *= 100
    patches[2, 0, 2] *= 100
    table, queries = PatchTable.of(patches), torch.tensor([1, 2])
    assert chosen_points(table, queries, "norm").tolist() == [8, 2]
    assert chosen_points(table, queries, "centre").tolist() == [7, 7]


def test_features_that_are_not_finite() -> None:
    with pytest.raises(DataError, match="NaN"):
        nearest_images(torch.tensor([[1.0, torch.nan], [1.0, 2.0]]), torch.tensor([0]), 1)
