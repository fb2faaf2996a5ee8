"""Random crops for linear probes: what they depend on, and that every image takes part."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from franca.batch import Skipped
from franca.errors import DataError
from franca.evaluation.crops import CroppedFeatures, RandomCrops
from franca.evaluation.linear import EPOCHS_AUGMENTED, LinearSettings
from franca.features.images import LabelledImage
from tests.evaluation.crops import Colours, cropped, subject

SETTINGS = LinearSettings(augment=True, epochs=4, probe_batch_size=16, learning_rates=[0.01, 0.1, 1.0])


def test_a_crop_depends_on_seed_epoch_and_image_alone() -> None:
    crops = RandomCrops(Colours(6), (8, 10), seed=3)
    first = crops[0, 2]
    again = RandomCrops(Colours(6), (8, 10), seed=3)[0, 2]
    assert isinstance(first, LabelledImage) and isinstance(again, LabelledImage)
    assert first.image.shape == (3, 8, 10) and first.image.dtype == torch.uint8
    assert torch.equal(first.image, again.image) and (first.key, first.label) == ("2", 2)
    for other in (crops[1, 2], RandomCrops(Colours(6), (8, 10), seed=4)[0, 2]):
        assert isinstance(other, LabelledImage) and not torch.equal(first.image, other.image)


def test_an_unreadable_image_is_named() -> None:
    assert RandomCrops(Colours(6, bad=2), (8, 8), seed=0)[0, 2] == Skipped("2", "truncated")


def test_every_image_comes_once_an_epoch_with_its_own_row() -> None:
    about = subject(SETTINGS, Colours(20, bad=3), Colours(6))
    table = about.table("train")
    assert len(table) == 19
    batches = list(CroppedFeatures(about.job("train"), table, seed=0).batches(epochs=2, batch_size=8))
    assert [len(rows) for rows, _, _ in batches if len(rows) < 7] == [4, 4]
    rows = torch.cat([rows for rows, _, _ in batches])
    for epoch in (rows[:19], rows[19:]):
        assert epoch.sort().values.tolist() == list(range(19))
    assert not torch.equal(rows[:19], rows[19:])
    cls = torch.cat([cls for _, cls, _ in batches])  # [38, 1, 3]
    assert table.labels is not None
    # The brightest channel of most crops is that of the class: rows and features belong together.
    assert (cls[:, 0].argmax(1) == table.labels[rows]).float().mean() > 0.6


def test_probes_learn_from_crops() -> None:
    result = cropped(SETTINGS)
    assert result.metrics["top1"] > 0.9
    assert result.settings["augment"] and result.settings["epochs"] == 4
    assert LinearSettings(augment=True).num_epochs == EPOCHS_AUGMENTED


def test_images_set_aside_are_not_learnt_from_before_the_choice() -> None:
    """With the same seeds the published habit trains the same probes; only the choice may differ."""
    honest = cropped(SETTINGS)
    habit = cropped(LinearSettings(**(vars(SETTINGS) | {"selection": "val"})))
    assert habit.metrics["top1"] >= honest.metrics["top1"]
    assert "held_out_top1" in honest.settings["winners"]["top1"] and "val_top1" in habit.settings["winners"]["top1"]


def test_the_model_runs_once_an_epoch_on_every_image() -> None:
    train = Colours(12)
    about = subject(SETTINGS, train, Colours(6))
    table = about.table("train")
    before = len(train.reads)
    list(CroppedFeatures(about.job("train"), table, seed=0).batches(epochs=3, batch_size=5))
    assert len(train.reads) - before == 36


def test_images_of_one_name_are_refused() -> None:
    """A crop finds its row by the name of its image: another image's class would be learnt."""
    about = subject(SETTINGS, Colours(6), Colours(6))
    table = replace(about.table("train"), keys=("0", "1", "2", "0", "4", "5"))
    with pytest.raises(DataError, match="colours: several images are called 0; augment=true tells"):
        CroppedFeatures(about.job("train"), table, seed=0)
