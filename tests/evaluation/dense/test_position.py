"""Position against scikit-learn, planted and absent."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score

from franca.errors import DataError
from franca.evaluation.dense.position import PositionSettings, run
from franca.features.patches import PatchTable
from franca.rasa.targets import positions
from tests.distributed.ranks import run_ranks
from tests.evaluation.dense.subjects import subject_of, table_of

SETTINGS = PositionSettings(entropy_clusters=12)
GRID = (5, 7)


def noise_of(num_images: int, seed: int, width: int = 8) -> torch.Tensor:
    return torch.randn(num_images, *GRID, width, generator=torch.Generator().manual_seed(seed))


def planted(num_images: int, seed: int, strength: float) -> PatchTable:
    """Noise with row and column added along two directions."""
    place = positions(GRID).view(*GRID, 2).float()
    directions = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(9)))[0][:2]
    return table_of(3 + noise_of(num_images, seed) + strength * place @ directions)


def tables(strength: float = 3.0) -> dict[str, PatchTable]:
    return {"train": planted(60, 1, strength), "val": planted(20, 2, strength)}


@pytest.mark.parametrize("alpha", [1.0, 1000.0])
def test_equal_to_scikit_learn(alpha: float) -> None:
    given = tables()
    place = positions(GRID)
    rows = {role: table.patches.flatten(0, 2).double().numpy() for role, table in given.items()}
    targets = {role: place.repeat(len(table), 1).numpy() for role, table in given.items()}
    predicted = Ridge(alpha=alpha).fit(rows["train"], targets["train"]).predict(rows["val"])
    found = run(subject_of(**given), PositionSettings(alpha=alpha, entropy_clusters=12))
    assert found.metrics["r2"] == pytest.approx(r2_score(targets["val"], predicted), abs=1e-6)
    each = mean_absolute_error(targets["val"], predicted, multioutput="raw_values")
    assert found.metrics["error"] == pytest.approx(each.mean(), abs=1e-6)
    assert found.numbers["error_rows_patches"] == pytest.approx(each[0] * 4, abs=1e-5)
    assert found.numbers["error_columns_patches"] == pytest.approx(each[1] * 6, abs=1e-5)


def test_planted_position_is_found_and_taking_it_out_hides_it() -> None:
    directions = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(9)))[0][:2]
    projector = torch.eye(8) - directions.T @ directions
    found = run(subject_of(projector, **tables(20.0)), SETTINGS).metrics
    assert found["r2"] > 0.9 and found["r2_rasa"] == pytest.approx(0, abs=0.05)
    assert found["error"] < 0.1 and found["error_rasa"] > 0.25
    assert found["spatial_entropy"] < 0.7 and found["spatial_entropy_rasa"] > 0.9
    assert found["spatial_entropy_rasa"] == pytest.approx(found["spatial_entropy_shuffled_rasa"], abs=0.02)


def test_noise_knows_no_place() -> None:
    given = {"train": table_of(noise_of(60, 1)), "val": table_of(noise_of(20, 2))}
    found = run(subject_of(**given), SETTINGS).metrics
    assert found["r2"] == pytest.approx(0, abs=0.03)
    assert found["spatial_entropy"] == pytest.approx(found["spatial_entropy_shuffled"], abs=0.02)


def test_prefixes() -> None:
    given = tables()
    found = run(subject_of(**given), PositionSettings(prefixes=True, entropy_clusters=12)).metrics
    narrow = {role: table_of(table.patches[..., :4]) for role, table in given.items()}
    assert found["r2_d4"] == pytest.approx(run(subject_of(**narrow), SETTINGS).metrics["r2"])
    assert found["r2_d8"] == found["r2"] > found["r2_d4"]


def test_wrong_input() -> None:
    strip = table_of(torch.zeros(4, 1, 7, 3))
    with pytest.raises(DataError, match="1 x 7 patches have no position to tell"):
        run(subject_of(train=strip, val=strip), SETTINGS)
    with pytest.raises(DataError, match="entropy_clusters=9999: only 2100 patches are drawn"):
        run(subject_of(**tables()), PositionSettings(entropy_clusters=9999))


def _val_is_broken_on_the_second_rank(rank: int) -> str:
    given = tables()
    given["val"].patches[-1] = torch.nan
    with pytest.raises(DataError) as caught:
        run(subject_of(**given), SETTINGS)
    return str(caught.value)


def test_what_one_rank_finds_wrong_ends_all() -> None:
    first, second = run_ranks(_val_is_broken_on_the_second_rank)
    assert first == second and "NaN" in first
