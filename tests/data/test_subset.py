from __future__ import annotations

import torch

from franca.config.schema import SyntheticConfig
from franca.data.subset import Subset, evenly_spaced
from franca.data.synthetic import SyntheticSource


def test_places_are_spread_evenly() -> None:
    assert evenly_spaced(10, 4) == [0, 2, 5, 7]
    assert evenly_spaced(3, 8) == evenly_spaced(3, None) == [0, 1, 2]
    assert evenly_spaced(0, 4) == []


def test_a_subset_reads_what_lies_at_its_places() -> None:
    whole = SyntheticSource(SyntheticConfig(num_images=10, size_px=16), "train")
    some, all_of_it = Subset(whole, 4), Subset(whole, 99)
    assert (len(some), some.group_sizes, len(all_of_it)) == (4, (4,), 10)
    for index, place in enumerate((0, 2, 5, 7)):
        assert some.read(index).key == whole.read(place).key
        assert torch.equal(some.read(index).image, whole.read(place).image)
    assert some.class_names == whole.class_names
    assert some.location == f"4 images of {whole.location}" and all_of_it.location == whole.location
