"""Images beside those that the model takes for most alike, as a whole and by single patches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.data.sample import Source
from franca.data.subset import evenly_spaced
from franca.errors import ConfigError
from franca.evaluation.subject import Progress
from franca.features.extract import extract
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.preprocess import bring_to
from franca.features.table import FeatureTable, Wanted
from franca.models.projector import Projector
from franca.viz.images import Places
from franca.viz.nearest import Nearest, chosen_points, nearest_images, nearest_patches, patch_at
from franca.viz.settings import NONE, NeighbourSettings
from franca.viz.sheet import Cell, Drawing, Patch, image_cell
from franca.viz.view import no_patches

PATCHES, DISENTANGLED = "patch", "patch, RASA"


@dataclass(frozen=True)
class Searched:
    """The images among which neighbours are looked for, with their features."""

    source: Source  # all images
    job: Job
    table: FeatureTable

    @classmethod
    def of(
        cls,
        model: FeatureModel,
        source: Source,
        settings: NeighbourSettings,
        device: torch.device,
        progress: Progress,
    ) -> Searched:
        """Runs the model over them.

        Raises:
            ConfigError: There are too few images, ``points`` are no pairs, or the model has no patches.
            DataError: None can be read.
        """
        _check_points(settings.points)
        places = Places(source, evenly_spaced(len(source), settings.search_images))
        _check_count(settings.k, len(places), source)
        job = Job(model, places, Wanted(patches=_wants_patches(settings)), settings, device)
        if _wants_patches(settings) and job.probe.patches is None:
            raise no_patches(model.name)
        table = extract(job, lambda done, total: progress("images", done, total))
        _check_count(settings.k, len(table), source)
        return cls(source, job, table)

    def place(self, row: int) -> int:
        """Where an image of the table lies in its source."""
        return int(self.table.keys[row])

    def key(self, row: int) -> str:
        """How the source calls it."""
        return self.source.read(self.place(row)).key

    def image(self, row: int) -> Tensor:
        """The image [3, H, W] uint8 as the model saw it."""
        return bring_to(self.source.read(self.place(row)).image, self.job.size_px, self.job.settings.fit)


def draw_neighbours(
    searched: Searched, settings: NeighbourSettings, projector: Projector | None = None
) -> list[Drawing]:
    """One drawing an image: it and its neighbours, then a row for each patch with the patches nearest to it.

    Args:
        searched: Where to look.
        settings: How many, and which patches.
        projector: Adds a row for each patch, with neighbours by what it leaves.

    Raises:
        DataError: Features are NaN or infinite.
    """
    queries = torch.tensor(evenly_spaced(len(searched.table), settings.num_images))
    whole = nearest_images(searched.table.embedding, queries, settings.k)
    by_row: list[tuple[str | None, Tensor | None, Nearest]] = [(None, None, whole)]
    for points in _points(searched, settings, queries):
        by_row += [(title, points, found) for title, found in _by_patch(searched, settings, queries, points, projector)]
    drawings = []
    for number, query in enumerate(queries.tolist()):
        key = searched.key(query)
        rows = [
            _row(searched, title or key, number, query, None if points is None else int(points[number]), found)
            for title, points, found in by_row
        ]
        drawings.append(Drawing(key, searched.place(query), rows, rows))
    return drawings


def _check_points(points: list[float] | None) -> None:
    if points is not None and (not points or len(points) % 2):
        raise ConfigError(f"points={points}: expected pairs [x, y, x, y, …]; found {len(points)} numbers")


def _check_count(k: int, found: int, source: Source) -> None:
    if k >= found:
        raise ConfigError(
            f"k={k} neighbours take {k + 1} images or more; {found} of {source.location} are searched and can be read. "
            f"Give {f'k={found - 1}' if found > 1 else 'several images'}, or more images by search_images and SRC"
        )


def _wants_patches(settings: NeighbourSettings) -> bool:
    return settings.points is not None or settings.point != NONE


def _points(searched: Searched, settings: NeighbourSettings, queries: Tensor) -> Iterator[Tensor]:
    """Patches [q] whose neighbours are drawn, one set after the other."""
    table = searched.table.patches
    if table is None:  # they were not asked for
        return
    if settings.points is None:
        yield chosen_points(table, queries, settings.point)
        return
    for x, y in zip(settings.points[::2], settings.points[1::2], strict=True):
        yield torch.full_like(queries, patch_at(x, y, table.grid))


def _by_patch(
    searched: Searched, settings: NeighbourSettings, queries: Tensor, points: Tensor, projector: Projector | None
) -> Iterator[tuple[str, Nearest]]:
    table = searched.table.patches
    assert table is not None
    yield PATCHES, nearest_patches(table, queries, points, settings.k)
    if projector is not None:
        yield DISENTANGLED, nearest_patches(table, queries, points, settings.k, projector)


def _row(searched: Searched, title: str, number: int, query: int, point: int | None, found: Nearest) -> list[Cell]:
    """A query and its neighbours."""
    cells = [image_cell(title, searched.image(query), _patch(searched, point))]
    for rank, image in enumerate(found.images[number].tolist()):
        patch = None if found.patches is None else int(found.patches[number, rank])
        similarity = f"{float(found.similarity[number, rank]):.2f}"
        cells.append(image_cell(similarity, searched.image(image), _patch(searched, patch)))
    return cells


def _patch(searched: Searched, number: int | None) -> Patch | None:
    if number is None:
        return None
    assert searched.table.patches is not None
    grid = searched.table.patches.grid
    return Patch(number // grid[1], number % grid[1], grid)
