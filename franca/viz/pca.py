"""Images beside the principal components of their patch features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from franca.models.projector import Projector
from franca.viz.colours import joint_colours
from franca.viz.settings import PcaSettings
from franca.viz.sheet import Cell, Drawing, image_cell
from franca.viz.view import View

RAW, DISENTANGLED = "PCA", "PCA, RASA"


def draw_pca(view: View, settings: PcaSettings, projector: Projector | None = None) -> list[Drawing]:
    """One drawing an image; colours mean the same in all of them.

    Args:
        view: Model and images.
        settings: The foreground.
        projector: Draws the patches that it leaves, by a basis of their own, beside the raw ones.

    Raises:
        ConfigError: The model has no patches, or nothing lies in the foreground.
        DataError: No image can be read, or features are NaN.
    """
    images, maps = [], []
    for shown in view.shown():
        images.append(shown)
        maps.append(view.patches(shown))
    columns = [_cells(RAW, maps, settings)]
    if projector is not None:
        columns.append(_cells(DISENTANGLED, [projector(patches) for patches in maps], settings))
    rows = [[image_cell(shown.key, shown.image), *cells] for shown, *cells in zip(images, *columns, strict=True)]
    return [Drawing(shown.key, shown.place, [row], [row]) for shown, row in zip(images, rows, strict=True)]


def _cells(title: str, maps: Sequence[Tensor], settings: PcaSettings) -> list[Cell]:
    colours = joint_colours(maps, foreground=settings.foreground, threshold=settings.threshold)
    return [Cell(title, map_, is_map=True) for map_ in colours]
