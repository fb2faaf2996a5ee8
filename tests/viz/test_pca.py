"""Drawings of patch colours."""

from __future__ import annotations

import torch

from franca.models.projector import Projector
from franca.viz.colours import joint_colours
from franca.viz.pca import DISENTANGLED, RAW, draw_pca
from franca.viz.settings import PcaSettings
from tests.viz.views import view_of, vit


def test_colours_are_joint_over_the_images() -> None:
    view = view_of(vit(), fit="keep")
    drawings = draw_pca(view, PcaSettings())
    maps = [view.patches(shown) for shown in view.shown()]
    assert len(drawings) == 3
    for drawing, colours in zip(drawings, joint_colours(maps), strict=True):
        ((image, map_),) = drawing.rows
        assert (image.title, map_.title) == (drawing.key, RAW)
        assert torch.equal(map_.pixels, colours)


def test_disentangled_features_stand_beside_the_raw_ones() -> None:
    view = view_of(vit())
    projector = Projector.removing(torch.randn(3, 24, generator=torch.Generator().manual_seed(0)))
    drawings = draw_pca(view, PcaSettings(foreground=True, threshold=-1.0), projector)
    maps = [projector(view.patches(shown)) for shown in view.shown()]
    expected = joint_colours(maps, foreground=True, threshold=-1.0)
    for drawing, colours in zip(drawings, expected, strict=True):
        assert [cell.title for cell in drawing.rows[0]] == [drawing.key, RAW, DISENTANGLED]
        assert torch.equal(drawing.rows[0][2].pixels, colours)
        assert not torch.equal(drawing.rows[0][1].pixels, colours)
