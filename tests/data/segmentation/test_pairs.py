"""Images and masks, file beside file."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from franca.config.schema import SyntheticConfig
from franca.data.folder import FolderSource
from franca.data.sample import BadSample, Source
from franca.data.segmentation.masks import codes_of
from franca.data.segmentation.pairs import PairSource, check_masks, mask_names_of
from franca.data.synthetic import SyntheticSource
from franca.errors import DataError
from tests.data.segmentation.folders import mask_of, save_image, save_mask


def pairs(root: Path, keys: str = "abc") -> PairSource:
    for number, key in enumerate(keys):
        save_image(root / f"{key}.jpg")
        save_mask(root / f"{key}.png", mask_of(number % 3, 255))
    return reopened(root, keys)


def reopened(root: Path, keys: str = "abc") -> PairSource:
    images, masks = [f"{key}.jpg" for key in keys], [f"{key}.png" for key in keys]
    return PairSource("there:train", root, images, masks, ("x", "y", "z"), codes_of(3))


def test_samples_hold_image_and_mask(tmp_path: Path) -> None:
    source: Source = pairs(tmp_path)
    sample = source.read(1)
    assert (sample.key, sample.label, sample.image.shape) == ("b.jpg", None, (3, 6, 8))
    assert sample.mask is not None and sample.mask.dtype == torch.uint8
    np.testing.assert_array_equal(sample.mask.numpy(), mask_of(1, 255))
    assert (len(source), source.kind, source.class_names, source.group_sizes) == (3, "segmentation", None, (3,))


def test_sources_travel_to_workers(tmp_path: Path) -> None:
    copy = pickle.loads(pickle.dumps(pairs(tmp_path)))
    assert copy.read(2).key == "c.jpg" and copy.mask_names == ("x", "y", "z")


def test_good_masks_pass(tmp_path: Path) -> None:
    check_masks(pairs(tmp_path))


def test_wrong_masks_are_told_together_before_anything_is_computed(tmp_path: Path) -> None:
    source = pairs(tmp_path, "abcde")
    save_mask(tmp_path / "a.png", mask_of(0, size=(8, 6)))
    save_mask(tmp_path / "b.png", mask_of(7))
    (tmp_path / "c.png").write_bytes(b"")
    save_mask(tmp_path / "e.png", mask_of(9))
    with pytest.raises(DataError) as raised:
        check_masks(source)
    message = str(raised.value)
    assert message.startswith("there:train: ")
    for expected in ("a.png is 8 x 6", "b.png holds 7", "c.png cannot be read", "And 1 more masks"):
        assert expected in message
    assert "e.png" not in message


def test_a_mask_that_spoils_later_is_an_error_and_no_bad_sample(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    save_mask(tmp_path / "b.png", mask_of(0, size=(2, 2)))
    with pytest.raises(DataError, match="They must be alike"):
        source.read(1)


def test_an_image_that_cannot_be_read_is_a_bad_sample(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.jpg").unlink()
    check_masks(source)  # its masks are good
    for index, reason in ((0, "not_an_image"), (1, "unreadable")):
        with pytest.raises(BadSample, match=reason):
            source.read(index)


def test_content_changes_with_the_files(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    before = source.content()
    assert reopened(tmp_path).content() == before
    assert reopened(tmp_path, "ab").content() != before
    save_mask(tmp_path / "b.png", mask_of(2))
    assert source.content() != before


def test_what_has_masks_and_what_has_not(tmp_path: Path) -> None:
    assert mask_names_of(pairs(tmp_path)) == ("x", "y", "z")
    with pytest.raises(DataError, match=r"has no masks. Expected DIR:split"):
        mask_names_of(FolderSource(tmp_path))


def test_drawn_masks_hold_the_classes_that_their_source_names() -> None:
    source = SyntheticSource(SyntheticConfig(num_images=8, size_px=32), "train")
    names = mask_names_of(source)
    for index in range(8):
        sample = source.read(index)
        assert sample.mask is not None and sample.label is not None
        assert set(sample.mask.unique().tolist()) == {0, index + 1}
        assert names[index + 1] == source.class_names[sample.label]
    assert len(names) == 9 and names[0] == "background"
