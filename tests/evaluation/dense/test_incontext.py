"""In-context segmentation against a brute-force reference, and its edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from franca.errors import DataError
from franca.evaluation.dense import incontext
from franca.evaluation.dense.confusion import confusion_matrix, scores
from franca.evaluation.dense.incontext import IncontextSettings, Memory, run
from franca.evaluation.dense.sampling import BATCH_IMAGES
from franca.features.patches import PatchTable
from tests.distributed.ranks import run_ranks
from tests.evaluation.dense.subjects import features_of, painted, subject_of, table_of

SETTINGS = IncontextSettings(k=5)


def tables(noise: float = 1.0) -> dict[str, PatchTable]:
    made = {}
    for role, count, seed in (("train", 20, 1), ("val", 9, 2)):
        masks, classes = painted(count, seed=seed)
        masks[:, :3, :5] = 1  # some patches hold more than one class
        made[role] = table_of(features_of(classes, seed=seed, noise=noise), masks)
    return made


def reference(train: PatchTable, val: PatchTable, k: int, temperature: float, width: int | None = None) -> Tensor:
    """Shares of classes for every patch [m, C], one patch after the other, in double precision."""
    assert train.masks is not None
    keys, votes = [], []
    side = train.masks.shape[1] // train.grid[0]
    for image, mask in zip(train.patches, train.masks, strict=True):
        for row in range(train.grid[0]):
            for column in range(train.grid[1]):
                pixels = mask[row * side : (row + 1) * side, column * side : (column + 1) * side]
                labelled = pixels[pixels != 255]
                if len(labelled):
                    keys.append(normalize(image[row, column, :width].double(), dim=0))
                    votes.append(torch.bincount(labelled.long(), minlength=3).double() / len(labelled))
    found = []
    for query in val.patches[..., :width].flatten(0, 2).double():
        similarity = torch.stack(keys) @ normalize(query, dim=0)
        best = similarity.argsort(descending=True)[:k]
        weights = (similarity[best] / temperature).exp()
        found.append((weights[:, None] * torch.stack(votes)[best]).sum(0) / weights.sum())
    return torch.stack(found)


def reference_miou(shares: Tensor, val: PatchTable) -> float:
    assert val.masks is not None
    maps = shares.view(len(val), *val.grid, 3).permute(0, 3, 1, 2)
    enlarged = interpolate(maps, size=val.masks.shape[1:], mode="bilinear").argmax(1)
    return scores(confusion_matrix(enlarged, val.masks, 3)).miou


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.02), (5, 0.02), (30, 0.5)])
def test_equal_to_brute_force(k: int, temperature: float) -> None:
    given = tables()
    shares = reference(given["train"], given["val"], k, temperature)
    result = run(subject_of(**given), IncontextSettings(k=k, temperature=temperature))
    assert result.metrics["miou"] == pytest.approx(reference_miou(shares, given["val"]), abs=1e-9)
    assert 0.2 < result.metrics["miou"] < 0.95
    assert "seeds change nothing" in result.notes[0]


def test_shares_themselves() -> None:
    given = tables()
    sample = incontext.draw_patches(given["train"], 10_000, seed=0, num_classes=3)
    assert sample.votes is not None
    found = Memory.of(sample.patches, sample.votes).predict(given["val"].patches.flatten(0, 2), 7, 0.1)
    np.testing.assert_allclose(found, reference(given["train"], given["val"], 7, 0.1), atol=1e-5)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(subject_of(**tables()), SETTINGS).metrics
    monkeypatch.setattr(incontext, "MAX_SIMILARITIES", 7 * 480)
    assert run(subject_of(**tables()), SETTINGS).metrics == whole


def test_features_that_are_almost_parallel_are_still_told_apart() -> None:
    given = tables()
    far = {role: replace(table, patches=table.patches + 1e4) for role, table in given.items()}
    found = run(subject_of(**far), SETTINGS).metrics["miou"]
    shares = reference(far["train"], far["val"], 5, 0.02)
    assert found == pytest.approx(reference_miou(shares, far["val"]), abs=0.02)


def test_prefixes_and_disentangled_features() -> None:
    given = tables()
    projector = torch.diag(torch.tensor([0.0] * 4 + [1.0] * 4))
    found = run(subject_of(projector, **given), IncontextSettings(k=5, prefixes=True)).metrics
    for width in (8, 4, 2, 1):
        expected = reference_miou(reference(given["train"], given["val"], 5, 0.02, width), given["val"])
        assert found[f"miou_d{width}"] == pytest.approx(expected, abs=1e-9 if width > 1 else 0.5)
    assert found["miou"] == found["miou_d8"] and found["miou_rasa"] == found["miou_rasa_d8"]
    cut = {role: replace(table, patches=table.patches @ projector) for role, table in given.items()}
    assert found["miou_rasa"] == pytest.approx(run(subject_of(**cut), SETTINGS).metrics["miou"])


def test_a_budget_bounds_the_memory_and_seeds_tell_the_spread() -> None:
    given = tables()
    settings = IncontextSettings(k=5, memory_mib=0.0101, seeds=[0, 1, 2])  # 139 patches of 19 numbers
    result = run(subject_of(**given), settings)
    assert result.notes[0] == "the memory holds 139 of 480 training patches"
    assert result.numbers["miou_std"] > 0 and result.numbers["miou_interval95"] > result.numbers["miou_std"]
    assert run(subject_of(**given), settings).metrics == result.metrics


def test_a_feature_that_is_the_label_finds_everything() -> None:
    given = {}
    for role, seed in (("train", 1), ("val", 2)):
        masks, classes = painted(8, seed=seed, grid=(1, 9))
        given[role] = table_of(torch.eye(256)[classes], masks)
    found = run(subject_of(**given), SETTINGS)
    assert found.metrics["miou"] == 1 and found.metrics["pixel_accuracy"] == 1
    assert found.by_class["tree"] == 1


def test_a_constant_feature_gives_the_majority() -> None:
    given = {}
    for role, seed in (("train", 1), ("val", 2)):
        masks, classes = painted(30, seed=seed)
        masks[torch.rand(masks.shape, generator=torch.Generator().manual_seed(seed)) < 0.5] = 0
        given[role] = table_of(torch.ones(*classes.shape, 4), masks)
    found = run(subject_of(**given), IncontextSettings(k=700))
    masks = given["val"].masks
    assert masks is not None
    share = float((masks == 0).sum() / (masks != 255).sum())
    assert found.metrics["pixel_accuracy"] == pytest.approx(share)
    assert found.metrics["miou"] == pytest.approx(share / 3)  # two classes are never found


def test_too_few_patches() -> None:
    with pytest.raises(DataError, match=r"k=999 neighbours are asked for, the memory holds [0-9]+ labelled patches"):
        run(subject_of(**tables()), IncontextSettings(k=999))


@pytest.mark.parametrize(
    ("role", "message"), [("train", "no patch has a labelled pixel"), ("val", "val= has no labelled")]
)
def test_masks_that_are_ignored_everywhere(role: str, message: str) -> None:
    given = tables()
    masks = given[role].masks
    assert masks is not None
    given[role] = replace(given[role], masks=torch.full_like(masks, 255))
    with pytest.raises(DataError, match=message):
        run(subject_of(**given), SETTINGS)


def _a_mask_is_wrong_on_the_second_rank(rank: int) -> str:
    masks, classes = painted(BATCH_IMAGES + 1, seed=2)
    masks[-1, 0, 0] = 7
    given = tables() | {"val": table_of(features_of(classes, seed=2, noise=1.0), masks)}
    with pytest.raises(DataError) as caught:
        run(subject_of(**given), SETTINGS)
    return str(caught.value)


def test_what_one_rank_finds_wrong_ends_all() -> None:
    first, second = run_ranks(_a_mask_is_wrong_on_the_second_rank)
    assert first == second and "a mask holds 7" in first
