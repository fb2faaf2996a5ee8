"""Fits the projector that takes position out of patch features, and tells after every round what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from franca.errors import ConfigError, DataError
from franca.features.patches import PatchTable
from franca.models.projector import Projector
from franca.rasa.moments import Moments, readability, removed_share
from franca.rasa.patches import ImagePatches, split_images
from franca.rasa.regressor import fit_regressor
from franca.rasa.settings import BEST, COVARIANCE, LBFGS, RasaSettings
from franca.rasa.targets import positions

Score = Callable[[Projector], float]
Progress = Callable[[int, int | None], None]  # (passes over the images done, passes in all where they are known)


@dataclass(frozen=True)
class Round:
    """What is left after a round; round 0 is before the first.

    Attributes:
        iteration: rounds so far.
        rank: dimensions that are left.
        r2: share of the variance of row and column that least squares on these features explains on held-out images.
        error: its root mean square error there, as a share of the image's side.
        energy_removed: share of the features' squared length that is gone.
        variance_removed: the same about the mean: what tells patches apart.
        score: held-out dense score in [0, 1]; None = not asked for.
    """

    iteration: int
    rank: int
    r2: float
    error: float
    energy_removed: float
    variance_removed: float
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A projector and how it came about."""

    projector: Projector
    rounds: tuple[Round, ...]
    kept: int  # rounds that the projector holds: all, or those up to the best

    def table(self) -> list[dict[str, Any]]:
        """The rounds as JSON values."""
        return [asdict(one) for one in self.rounds]


def fit(
    table: PatchTable,
    settings: RasaSettings,
    *,
    device: torch.device | str = "cpu",
    score: Score | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Removes position from patch features, one direction for the row and one for the column in each round.

    ``directions=regressor`` is the paper's way: fit a sigmoid regressor of row and column, make its two weight vectors
    orthonormal to each other and to all that was removed before, remove them, and start again.

    ``directions=covariance`` removes the span of C = cov(z, y) [D, 2], the covariance of features z and position y.
    After it no linear map reads position from the images of the fit. Proof: P is symmetric and P C = 0, so
    cov(P z, y) = P C = 0. The slope A of least squares with intercept, with or without ridge, solves
    (cov(P z) + lambda I) A = cov(P z, y) = 0, so A = 0 is a solution: the best linear guess is the mean position, and
    R2 is 0. On other images C differs by chance alone, and R2 is about 0. Regressor weights lack this property: they
    are near cov(z)^-1 C, and removing that leaves C as it was in all other directions.

    On several ranks, each reads its share of every batch, and all come to the same projector.

    Args:
        table: patches of two images at least.
        settings: see there.
        device: where products are made.
        score: dense score in [0, 1] of a projector, larger is better; needed for ``stop=best``.
        progress: called after every pass over the images.

    Raises:
        ConfigError: more directions are to be removed than the features have, or ``stop=best`` has no score.
        DataError: fewer than two images, images of a single patch, or features that are not finite.

    Source: paper, section 2.3. There each round's directions are orthonormal to each other only, so that later rounds
    put back a little of what earlier ones removed. Covariance: Belrose et al., "LEACE: Perfect linear concept erasure
    in closed form", whose condition cov(P z, y) = 0 this is, with an orthogonal instead of an oblique projector.
    """
    num_rounds = 1 if settings.directions == COVARIANCE else settings.iterations
    places = positions(table.grid)
    _check(table, settings, num_rounds * places.shape[1], score)
    device = torch.device(device)
    train, held_out = split_images(table, settings.held_out, settings.seed, device)
    shift = next(table.batches(1)).patches.mean((0, 1, 2)).double()
    moments, apart = (Moments.of(part, places, shift) for part in (train, held_out))
    _check_finite(moments, apart)

    count = _Count(progress, None if settings.solver == LBFGS else num_rounds * settings.epochs)
    projector = Projector.removing(torch.empty(0, table.width))
    projectors, rounds = [projector], [_describe(0, projector, moments, apart, score)]
    for iteration in range(1, num_rounds + 1):
        directions = _directions(train, places, projector, moments, settings, iteration, count)
        projector = projector.further(directions)
        projectors.append(projector)
        rounds.append(_describe(iteration, projector, moments, apart, score))
    kept = num_rounds if settings.stop != BEST else max(range(len(rounds)), key=lambda i: rounds[i].score or 0.0)
    return Fitted(projectors[kept], tuple(rounds), kept)


class _Count:
    """Counts passes over the images, for a progress bar."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _directions(
    train: ImagePatches,
    places: Tensor,
    projector: Projector,
    moments: Moments,
    settings: RasaSettings,
    iteration: int,
    step: Callable[[], None],
) -> Tensor:
    """The directions [A, D] of a round, one for each axis of position."""
    if settings.directions == COVARIANCE:
        return moments.position_covariance.T
    seed = settings.seed + iteration
    return fit_regressor(train, places, projector, moments, settings, seed=seed, step=step)


def _describe(iteration: int, projector: Projector, train: Moments, held_out: Moments, score: Score | None) -> Round:
    found = readability(train, held_out, projector)
    return Round(
        iteration=iteration,
        rank=projector.rank,
        r2=found.r2,
        error=found.error,
        energy_removed=removed_share(held_out.energy, projector),
        variance_removed=removed_share(held_out.covariance, projector),
        score=None if score is None else score(projector),
    )


def _check(table: PatchTable, settings: RasaSettings, num_directions: int, score: Score | None) -> None:
    if len(table) < 2:
        raise DataError(f"RASA needs two images at least, one to fit on and one held out; there is {len(table)}.")
    if settings.stop == BEST and score is None:
        raise ConfigError("stop=best needs a held-out dense score: give images with masks as score=DIR:split.")
    if num_directions >= table.width:
        raise ConfigError(
            f"iterations={settings.iterations} would remove {num_directions} directions from features of width "
            f"{table.width}: give fewer iterations."
        )


def _check_finite(*moments: Moments) -> None:
    if not all(bool(one.square.isfinite().all()) for one in moments):
        raise DataError("Some patch features are NaN or infinite: the model is broken, or its numbers outgrow fp16.")
