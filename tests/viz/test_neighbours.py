"""Drawings of neighbours, from features to outlined patches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from franca.data.sample import Source
from franca.errors import ConfigError
from franca.features.model import FeatureModel
from franca.features.preprocess import bring_to
from franca.models.projector import Projector
from franca.viz.nearest import nearest_images, nearest_patches
from franca.viz.neighbours import Searched, draw_neighbours
from franca.viz.settings import NeighbourSettings
from tests.viz.test_view import _Holes
from tests.viz.views import drawn, vit

FAST: dict[str, Any] = {"image_size_px": 16, "precision": "fp32", "workers": 0, "cache": False, "k": 2}


def searched(settings: NeighbourSettings, source: Source | None = None, backbone: nn.Module | None = None) -> Searched:
    model = FeatureModel(backbone or vit(), "a model")
    return Searched.of(model, source or drawn(), settings, torch.device("cpu"), lambda *_: None)


def test_a_row_for_images_and_one_for_each_point() -> None:
    settings = NeighbourSettings(**FAST, num_images=3, points=[0.0, 0.0, 1.0, 0.6])
    found = searched(settings)
    drawings = draw_neighbours(found, settings)
    assert [drawing.place for drawing in drawings] == [0, 4, 8]
    queries = torch.tensor([0, 4, 8])
    whole = nearest_images(found.table.embedding, queries, 2)
    assert found.table.patches is not None
    points = torch.full((3,), 2 * 4 + 3)
    patches = nearest_patches(found.table.patches, queries, points, 2)
    assert patches.patches is not None
    for number, drawing in enumerate(drawings):
        images, _, second = drawing.rows
        assert [cell.title for cell in images] == [drawing.key, *(f"{float(s):.2f}" for s in whole.similarity[number])]
        for cell, place in zip(images[1:], whole.images[number].tolist(), strict=True):
            expected = bring_to(drawn().read(place).image, (16, 16)).permute(1, 2, 0)
            assert torch.equal(cell.pixels, expected) and cell.marked is None
        marked = [(cell.marked.row, cell.marked.column) for cell in second if cell.marked]
        assert marked == [(2, 3), *(divmod(patch, 4) for patch in patches.patches[number].tolist())]


def test_a_row_more_without_position() -> None:
    settings = NeighbourSettings(**FAST, num_images=2)
    projector = Projector.removing(torch.randn(6, 24, generator=torch.Generator().manual_seed(0)))
    (drawing, _) = draw_neighbours(searched(settings), settings, projector)
    assert [row[0].title for row in drawing.rows] == [drawing.key, "patch", "patch, RASA"]


def test_images_that_cannot_be_read_shift_nothing() -> None:
    settings = NeighbourSettings(**FAST, num_images=None)
    drawings = draw_neighbours(searched(settings, _Holes(range(2, 9))), settings)
    assert [drawing.place for drawing in drawings] == [0, 1, 9, 10, 11]
    assert drawings[2].key == "val/00000009"
    expected = bring_to(drawn().read(9).image, (16, 16)).permute(1, 2, 0)
    assert torch.equal(drawings[2].rows[0][0].pixels, expected)


def test_embeddings_alone_suffice_for_images() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    settings = NeighbourSettings(**FAST, num_images=1, point="none")
    (drawing,) = draw_neighbours(searched(settings, backbone=flat), settings)
    assert len(drawing.rows) == 1
    with pytest.raises(ConfigError, match=r"a model gives no patch features.*point=none"):
        searched(NeighbourSettings(**FAST), backbone=flat)


@pytest.mark.parametrize(
    ("changes", "source", "said"),
    [
        ({"points": [0.5]}, drawn(), r"expected pairs \[x, y"),
        ({"k": 12}, drawn(), "k=12 neighbours take 13 images or more; 12 of synthetic .* Give k=11"),
        ({"k": 5, "search_images": 4}, drawn(), "Give k=3"),
        ({}, drawn(1), "Give several images"),
        ({"k": 4}, _Holes(range(8)), "4 of somewhere"),
    ],
)
def test_wrong_wishes(changes: dict[str, Any], source: Source, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        searched(NeighbourSettings(**{**FAST, **changes}), source)
