"""Drawings of attention."""

from __future__ import annotations

import torch

from franca.models.vision_transformer import VisionTransformer
from franca.viz.attention import HEADS_PER_ROW, draw_attention
from franca.viz.class_attention import ClassAttention
from franca.viz.heat import heat
from tests.viz.views import view_of, vit


def test_the_mean_and_every_head() -> None:
    view = view_of(vit(), num_images=2)
    drawings = draw_attention(view)
    reader = ClassAttention(view.job.model)
    for drawing, shown in zip(drawings, view.shown(), strict=True):
        with torch.inference_mode(), reader.watch() as seen:
            maps = reader.maps(seen, view.features(shown))
        (image, mean), heads = drawing.rows
        assert torch.equal(image.pixels, shown.image.permute(1, 2, 0))
        assert mean.title == f"mean, {float(maps.mean(0).sum()):.0%}"
        assert torch.equal(mean.pixels, heat(maps.mean(0)))
        assert [cell.title.partition(",")[0] for cell in heads] == ["head 0", "head 1", "head 2"]
        assert all(torch.equal(cell.pixels, heat(map_)) for cell, map_ in zip(heads, maps, strict=True))
        assert drawing.summary == [[image, mean, *heads]]


def test_many_heads_take_several_rows_and_only_their_mean_goes_to_the_sheet() -> None:
    model = VisionTransformer(width=32, depth=1, num_heads=8, patch_size_px=8, image_size_px=16)
    (drawing,) = draw_attention(view_of(model, num_images=1))
    assert [len(row) for row in drawing.rows] == [2, HEADS_PER_ROW, 2]
    assert [len(row) for row in drawing.summary] == [2]
