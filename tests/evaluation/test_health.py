"""Label-free numbers by hand and by definition, and what counts as collapse."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from franca.errors import DataError
from franca.evaluation.health import HealthSettings, judge, measure, outliers, run
from franca.features.patches import PatchTable
from franca.features.table import FeatureTable
from tests.evaluation.clusters import clusters

TABLE = clusters(200, seed=0)
SETTINGS = HealthSettings()


def table(embeddings: Tensor) -> FeatureTable:
    return FeatureTable(embeddings[:, None], None, None, tuple(map(str, range(len(embeddings)))))


def test_every_number_by_its_definition() -> None:
    found = measure(TABLE.embedding, SETTINGS)
    z = TABLE.embedding.double()
    singular = torch.linalg.svdvals(z)
    shares = singular / singular.sum()
    assert found["rankme"] == pytest.approx(math.exp(-float((shares * shares.log()).sum())), rel=1e-6)
    unit = normalize(z)
    others = ~torch.eye(len(z), dtype=torch.bool)
    assert found["mean_cosine"] == pytest.approx(float((unit @ unit.T)[others].mean()), rel=1e-6)
    kernel = torch.exp(-2 * torch.cdist(unit, unit).square())
    assert found["uniformity"] == pytest.approx(math.log(float(kernel[others].mean())), rel=1e-4)
    assert found["feature_spread"] == pytest.approx(float(unit.std(0, correction=0).mean()) * 4, rel=1e-6)
    assert found["dead_dimensions"] == 0


def test_evenly_spread_embeddings_are_healthy() -> None:
    even = torch.randn(2000, 32, generator=torch.Generator().manual_seed(0))
    result = run(table(even), SETTINGS)
    assert result.notes == () and result.metrics == {}
    assert 31 < result.numbers["rankme"] <= 32
    assert result.numbers["feature_spread"] == pytest.approx(1, abs=0.01)
    assert abs(result.numbers["mean_cosine"]) < 0.001
    assert result.numbers["uniformity"] == pytest.approx(-4 + 8 / 32, abs=0.1)  # Gaussian limit: -4 + 8 / D


def test_collapse_to_a_point_is_told() -> None:
    noise = torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    notes = run(table(torch.ones(64) + 0.01 * noise), SETTINGS).notes
    assert len(notes) == 3 and all(note.startswith("sign of collapse") for note in notes)
    assert "mean cosine" in notes[0] and "feature spread" in notes[1] and "RankMe" in notes[2]


def test_collapse_to_a_line_is_told_by_rankme() -> None:
    direction = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    result = run(table(torch.randn(300, 1, generator=torch.Generator().manual_seed(1)) * direction), SETTINGS)
    assert result.numbers["rankme"] == pytest.approx(1, abs=1e-3)
    assert any("RankMe 1.0" in note for note in result.notes)


def test_dimensions_that_never_change_are_dead() -> None:
    embeddings = torch.cat([TABLE.embedding, torch.full((200, 4), 0.7)], dim=1)
    result = run(table(embeddings), SETTINGS)
    assert result.numbers["dead_dimensions"] == pytest.approx(4 / 20)
    assert any("20.0% of the dimensions never change" in note for note in result.notes)


def test_prefixes_are_measured_like_embeddings() -> None:
    result = run(TABLE, HealthSettings(prefixes=True))
    assert result.numbers["rankme_d16"] == result.numbers["rankme"]
    narrow = measure(TABLE.embedding[:, :4], SETTINGS)
    assert {name: result.numbers[f"{name}_d4"] for name in narrow} == narrow


def test_fewer_pairs_change_uniformity_little() -> None:
    whole = measure(TABLE.embedding, SETTINGS)
    some = measure(TABLE.embedding, HealthSettings(max_pairs_images=100))
    assert some["uniformity"] == pytest.approx(whole["uniformity"], abs=0.3) and some["rankme"] == whole["rankme"]


def test_long_patches_are_found() -> None:
    patches = normalize(torch.randn(5, 4, 4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    patches[2, 1, 3] *= 10
    found = outliers(PatchTable.of(patches))
    assert found["patch_norm_max_over_median"] == pytest.approx(10, rel=1e-4)
    assert found["patch_norm_outliers"] == pytest.approx(1 / 80)
    result = run(replace(TABLE, patches=PatchTable.of(patches)), HealthSettings(patches=True))
    assert result.numbers["patch_norm_outliers"] == found["patch_norm_outliers"]
    assert any("no patch embeddings" in note for note in run(TABLE, HealthSettings(patches=True)).notes)


def test_one_image_does_not_fail() -> None:
    numbers = run(table(torch.ones(1, 4)), SETTINGS).numbers
    assert all(math.isfinite(value) for value in numbers.values())


def test_features_that_are_not_numbers() -> None:
    broken = TABLE.cls.clone()
    broken[3] = torch.nan
    with pytest.raises(DataError, match="1 of 200 images of the source have features that are NaN"):
        run(replace(TABLE, cls=broken), SETTINGS)


@pytest.mark.parametrize(("roles", "chosen"), [(("train", "val"), "val"), (("train",), "train"), (("val",), "val")])
def test_any_images_do(roles: tuple[str, ...], chosen: str) -> None:
    asked: list[str] = []

    def give(role: str) -> FeatureTable:
        asked.append(role)
        return TABLE

    subject: Any = SimpleNamespace(sources=dict.fromkeys(roles), table=give, device=torch.device("cpu"))
    assert judge(subject, SETTINGS).settings["role"] == chosen and asked == [chosen]
