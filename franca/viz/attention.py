"""Images beside the attention of the class token in the last block."""

from __future__ import annotations

import torch
from torch import Tensor

from franca.viz.class_attention import ClassAttention
from franca.viz.heat import heat
from franca.viz.sheet import Cell, Drawing, Rows, image_cell
from franca.viz.view import Shown, View

HEADS_PER_ROW = 6
MAX_HEADS_ON_SHEET = 6


def draw_attention(view: View) -> list[Drawing]:
    """One drawing an image: the mean over heads, then every head.

    A title says how much of the attention goes to patches; the rest goes to the class token itself and to registers.

    Raises:
        ConfigError: The model is none whose attention can be read.
        DataError: No image can be read.
    """
    reader = ClassAttention(view.job.model)
    drawings = []
    for shown in view.shown():
        with reader.watch() as seen, torch.inference_mode():
            features = view.features(shown)
            maps = reader.maps(seen, features)
        drawings.append(_drawing(shown, maps))
    return drawings


def _drawing(shown: Shown, maps: Tensor) -> Drawing:
    first = [image_cell(shown.key, shown.image), _cell("mean", maps.mean(0))]
    heads = [_cell(f"head {number}", map_) for number, map_ in enumerate(maps)]
    rows: Rows = [first, *(heads[start : start + HEADS_PER_ROW] for start in range(0, len(heads), HEADS_PER_ROW))]
    summary = first + heads if len(heads) <= MAX_HEADS_ON_SHEET else first
    return Drawing(shown.key, shown.place, rows, [summary])


def _cell(title: str, map_: Tensor) -> Cell:
    return Cell(f"{title}, {float(map_.sum()):.0%}", heat(map_), is_map=True)
