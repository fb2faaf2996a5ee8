"""The images of a view, and their features."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from franca.data.sample import BadSample, Sample
from franca.errors import ConfigError, DataError
from franca.features.preprocess import normalise
from franca.viz.images import brought
from tests.viz.views import drawn, view_of, vit


class _Holes:
    """Drawn images with some that cannot be read."""

    kind, location, class_names, group_sizes = "folder", "somewhere", None, (12,)

    def __init__(self, bad: range) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 12

    def read(self, index: int) -> Sample:
        if index in self.bad:
            raise BadSample(f"image {index}", "truncated")
        return drawn().read(index)


def test_patches_are_those_of_the_model() -> None:
    model = vit()
    view = view_of(model, num_images=2)
    shown = list(view.shown())
    assert [(one.place, one.key) for one in shown] == [(0, "val/00000000"), (6, "val/00000006")]
    image = brought(drawn().read(6).image, (16, 16), "crop", 4)
    assert torch.equal(shown[1].image, image)
    with torch.no_grad():
        expected = model.features(
            normalise(image[None], model.preprocessing.mean, model.preprocessing.std)
        ).patches.unflatten(1, (4, 4))
    torch.testing.assert_close(view.patches(shown[1]), expected[0])


def test_unreadable_images_are_left_out() -> None:
    done: list[int] = []
    view = replace(
        view_of(vit(), _Holes(range(3, 9)), num_images=4), progress=lambda _, number, total: done.append(number)
    )
    assert [shown.place for shown in view.shown()] == [0, 9]
    assert done == [1, 2, 3, 4]
    with pytest.raises(DataError, match=r"somewhere: no image could be read .*image 0: truncated"):
        list(view_of(vit(), _Holes(range(12))).shown())


def test_a_model_without_patches_is_told() -> None:
    view = view_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)))
    with pytest.raises(ConfigError, match=r"no patch features.*point=none"):
        view.patches(next(view.shown()))
