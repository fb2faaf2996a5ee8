"""What the whole fit must bring about, on features whose position is known to lie in two directions."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from franca.errors import ConfigError, DataError
from franca.features.patches import PatchTable
from franca.models.projector import Projector
from franca.rasa.fit import Fitted, fit
from franca.rasa.settings import RasaSettings
from franca.rasa.targets import positions
from tests.distributed.ranks import run_ranks
from tests.rasa.factory import planted

WAYS = [
    pytest.param({"batch_images": 8}, id="adamw"),
    pytest.param({"solver": "lbfgs"}, id="lbfgs"),
    pytest.param({"directions": "covariance"}, id="covariance"),
]


def run(table: PatchTable, **options: object) -> Fitted:
    return fit(table, RasaSettings(**{"iterations": 3, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("grid", [(6, 8), (1, 12)])
def test_an_exact_projector_and_a_falling_r2(options: dict[str, object], grid: tuple[int, int]) -> None:
    found = run(planted(grid=grid)[0], **options)
    removed = len(found.projector.basis)
    assert removed == (1 if "directions" in options else 3) * sum(side > 1 for side in grid)
    matrix = found.projector.matrix
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_rank(matrix) == found.projector.rank == 32 - removed
    assert [row.iteration for row in found.rounds] == list(range(found.kept + 1))
    first, last = found.rounds[0], found.rounds[-1]
    assert first.r2 > 0.5 and last.r2 < 0.8 * first.r2
    assert first.error < last.error < 0.34
    assert first.energy_removed == first.variance_removed == 0
    assert all(a.energy_removed < b.energy_removed for a, b in zip(found.rounds, found.rounds[1:], strict=False))
    assert last.rank == found.projector.rank


def test_after_covariance_no_linear_map_reads_position() -> None:
    """Neither from the images of the fit, nor from others, whatever the ridge, and whoever fits the map."""
    table, _ = planted(num_images=300)
    projector = run(table, directions="covariance").projector
    fresh, _ = planted(num_images=900)  # the first 300 images differ from those: other draws
    halves = [PatchTable.of(fresh.patches[300:600]), PatchTable.of(fresh.patches[600:])]
    for ridge in (0.0, 1.0, 1e4):
        for reader in (table, halves[0]):
            features, places = flat(reader, projector)
            model = (Ridge(ridge) if ridge else LinearRegression()).fit(features, places)
            seen, expected = flat(halves[1], projector)
            assert abs(r2_score(expected, model.predict(seen))) < 0.01
    features, places = flat(halves[0], None)
    assert (
        r2_score(flat(halves[1], None)[1], LinearRegression().fit(features, places).predict(flat(halves[1], None)[0]))
        > 0.5
    )


def flat(table: PatchTable, projector: Projector | None) -> tuple[torch.Tensor, torch.Tensor]:
    patches = table.patches.double().flatten(0, 2)
    return patches if projector is None else projector(patches), positions(table.grid).repeat(len(table), 1)


def test_a_strong_planted_subspace_is_found() -> None:
    table, directions = planted(amplitude=10.0)
    projector = run(table, directions="covariance").projector
    assert projector(directions).norm(dim=1).max() < 0.1


def test_later_rounds_keep_what_earlier_ones_removed() -> None:
    table, _ = planted()
    short, long = (run(table, solver="lbfgs", iterations=rounds).projector for rounds in (1, 4))
    assert torch.equal(long.basis[:2], short.basis)
    assert long(short.basis).abs().max() < 1e-12


def test_the_same_again_whatever_was_drawn_before() -> None:
    table, _ = planted()
    first = run(table).projector.basis
    torch.rand(3)
    assert torch.equal(run(table).projector.basis, first)
    assert not torch.equal(run(table, seed=1).projector.basis, first)


def test_stops_at_the_best_score() -> None:
    table, _ = planted()
    by_rank = {32: 0.1, 30: 0.2, 28: 0.3, 26: 0.3, 24: 0.1}
    found = fit(table, RasaSettings(iterations=4, stop="best", solver="lbfgs"), score=lambda one: by_rank[one.rank])
    assert (found.kept, found.projector.rank, len(found.rounds)) == (2, 28, 5)
    assert [row.score for row in found.rounds] == list(by_rank.values())
    none = fit(table, RasaSettings(iterations=2, stop="best"), score=lambda one: one.rank / 32)
    assert (none.kept, none.projector.rank) == (0, 32)


def test_progress_counts_passes() -> None:
    seen: list[tuple[int, int | None]] = []
    fit(planted()[0], RasaSettings(iterations=2, epochs=3), progress=lambda *now: seen.append(now))
    assert seen == [(number, 6) for number in range(1, 7)]


def test_wrong_input() -> None:
    table, _ = planted()
    with pytest.raises(ConfigError, match="iterations=16 would remove 32 directions from features of width 32"):
        run(table, iterations=16)
    with pytest.raises(ConfigError, match="stop=best needs a held-out dense score"):
        run(table, stop="best")
    with pytest.raises(DataError, match="two images at least"):
        run(PatchTable.of(table.patches[:1]))
    with pytest.raises(DataError, match="single patch"):
        run(PatchTable.of(table.patches[:, :1, :1]))
    broken = table.patches.clone()
    broken[7, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        run(PatchTable.of(broken))


def _on_ranks(rank: int) -> dict[str, object]:
    table, _ = planted(num_images=31)
    return {way: run(table, **options).projector.basis for way, options in _OPTIONS.items()}


_OPTIONS: dict[str, dict[str, object]] = {
    "adamw": {"batch_images": 3},
    "lbfgs": {"solver": "lbfgs"},
    "covariance": {"directions": "covariance"},
}


def test_two_ranks_are_one() -> None:
    alone, together = _on_ranks(0), run_ranks(_on_ranks)
    for way in _OPTIONS:
        assert torch.equal(together[0][way], together[1][way])
        torch.testing.assert_close(together[0][way], alone[way], rtol=0, atol=1e-3)
