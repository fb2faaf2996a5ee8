"""Which images are drawn, and in which size."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from franca.data.sample import BadSample, Sample
from franca.features.preprocess import bring_to
from franca.viz.images import OneImage, Places, brought, kept_size
from tests.viz.views import drawn


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (100, 900), (7, 7)])
def test_a_kept_shape_has_whole_patches_and_about_as_many_pixels(shape: tuple[int, int]) -> None:
    height, width = kept_size(shape, (224, 224), 14)
    assert height % 14 == width % 14 == 0
    assert height * width == pytest.approx(224**2, rel=0.15)
    assert abs(height * shape[1] / shape[0] - width) <= 14 * max(1, shape[1] / shape[0])


def test_images_are_brought_to_size() -> None:
    image = torch.randint(256, (3, 30, 60), dtype=torch.uint8)
    assert brought(image, (16, 16), "keep", 4).shape == (3, 12, 24)
    assert brought(image, (16, 16), "keep", None).shape == (3, 11, 23)
    assert torch.equal(brought(image, (16, 24), "crop", 4), bring_to(image, (16, 24), "crop"))
    assert torch.equal(brought(image, (16, 24), "stretch", 4), bring_to(image, (16, 24), "stretch"))


def test_one_image(tmp_path: Path) -> None:
    path = tmp_path / "a cat.png"
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    source = OneImage(path)
    sample = source.read(0)
    assert (len(source), sample.key) == (1, "a cat.png")
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), pixels)
    before = source.content()
    path.write_bytes(b"other")
    assert source.content() != before
    path.unlink()
    with pytest.raises(BadSample, match="unreadable"):
        source.read(0)


def test_places_are_called_by_their_number() -> None:
    source = drawn(10)
    some = pickle.loads(pickle.dumps(Places(source, [7, 2])))
    assert [some.read(index).key for index in range(len(some))] == ["7", "2"]
    assert torch.equal(some.read(1).image, source.read(2).image)
    assert some.content() == Places(source, [7, 2]).content() != Places(source, [2, 7]).content()


class _Broken:
    kind, location, class_names, group_sizes = "folder", "somewhere", None, (2,)

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> Sample:
        raise BadSample(f"image {index}", "truncated")


def test_a_place_that_cannot_be_read_and_a_source_that_cannot_tell_its_content() -> None:
    some = Places(_Broken(), [1])
    with pytest.raises(BadSample, match="1: truncated"):
        some.read(0)
    assert not hasattr(some, "content")
