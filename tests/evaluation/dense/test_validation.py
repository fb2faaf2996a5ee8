"""Heads judged on whole images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from franca.data.sample import BadSample, Sample
from franca.errors import DataError
from franca.evaluation.dense.heads import Head
from franca.evaluation.dense.validation import judge_heads
from franca.evaluation.dense.variants import variants
from franca.evaluation.dense.windows import Windows
from franca.features.table import CLASS_EMBEDDING
from franca.models.vision_transformer import VisionTransformer
from tests.evaluation.dense.subjects import Stripes, subject_on

WINDOWS = Windows((16, 16))


def colour_head(right: bool = True) -> Head:
    """Takes a patch for the class whose colour is strongest, or always for the first."""
    head = Head(variants(3)[0], 3).eval()
    with torch.no_grad():
        head.linear.weight.copy_(10 * torch.eye(3) * right)
    return head


class Broken(Stripes):
    """Stripes of which the second cannot be read."""

    def read(self, index: int) -> Sample:
        if index == 1:
            raise BadSample("stripes 1", "truncated")
        return super().read(index)


class Bare(Stripes):
    """Stripes without masks."""

    def read(self, index: int) -> Sample:
        return replace(super().read(index), mask=None)


def test_every_labelled_pixel_counts_once_for_every_head() -> None:
    source = Stripes(6, seed=0)
    told: list[tuple[int, int]] = []
    found = judge_heads(
        [colour_head(), colour_head(right=False)],
        subject_on({"val": source}).job("val"),
        WINDOWS,
        3,
        progress=lambda *now: told.append(now),
    )
    pixels = source.classes[source.classes != 3].bincount(minlength=3) * 4 * 16
    assert torch.equal(found.confusions[0].sum(1), pixels)
    assert found.confusions[0].diagonal().sum() > 0.9 * pixels.sum()  # borders lie between patches
    assert torch.equal(found.confusions[1][:, 0], pixels)
    assert told == [(done, 6) for done in range(1, 7)] and found.examples == []


def test_examples_at_equal_distances() -> None:
    source = Stripes(9, seed=0)
    found = judge_heads([colour_head()], subject_on({"val": source}).job("val"), WINDOWS, 3, num_examples=3)
    for example, index in zip(found.examples, (0, 4, 8), strict=True):
        assert torch.equal(example.image, source.read(index).image) and example.prediction.shape == example.mask.shape


def test_images_that_cannot_be_read_are_left_out() -> None:
    found = judge_heads([colour_head()], subject_on({"val": Broken(3, seed=0)}).job("val"), WINDOWS, 3)
    assert int(found.confusions[0].sum()) == 2 * 5 * 4 * 16


def test_patches_are_had_of_a_model_that_leaves_them_out_where_nobody_asks() -> None:
    """The tables of a call that judges segmentation alone hold class embeddings."""
    model = VisionTransformer(width=24, depth=2, num_heads=2, patch_size_px=4, image_size_px=16)
    job = replace(subject_on({"val": Stripes(2, seed=0)}, model).job("val"), wanted=CLASS_EMBEDDING)
    found = judge_heads([Head(variants(24)[0], 3).eval()], job, WINDOWS, 3)
    assert int(found.confusions[0].sum()) == 2 * 5 * 4 * 16


@pytest.mark.parametrize(("source", "message"), [(Bare(2, seed=0), "has no mask"), (Broken(0, seed=0), "no labelled")])
def test_wrong_input(source: Stripes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        judge_heads([colour_head()], subject_on({"val": source}).job("val"), WINDOWS, 3)
