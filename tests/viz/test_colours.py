"""Principal components as colours, by one basis for all images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from franca.errors import ConfigError, DataError
from franca.viz.colours import components, is_foreground, joint_colours, parting


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def skewed(*shape: int, seed: int = 0) -> Tensor:
    return (random(*shape, seed=seed) / 2).exp()


def planted(seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Two maps of different shapes that lie along three directions, and their places along these."""
    axes = torch.linalg.qr(random(8, 8)).Q[:3]
    weights = [skewed(5, 6, 3, seed=seed), skewed(4, 10, 3, seed=seed + 1)]
    return [weight * torch.tensor([10.0, 3.0, 1.0]) @ axes for weight in weights], weights


def test_planted_directions_are_found_in_the_order_of_their_spread_and_with_their_sign() -> None:
    maps, weights = planted()
    colours = joint_colours(maps)
    assert [map_.shape for map_ in colours] == [(5, 6, 3), (4, 10, 3)]
    seen = torch.cat([map_.flatten(0, 1) for map_ in colours]).float()
    truth = torch.cat([weight.flatten(0, 1) for weight in weights])
    for component in range(3):
        assert torch.corrcoef(torch.stack([seen[:, component], truth[:, component]]))[0, 1] > 0.9
    assert (int(seen.min()), int(seen.max())) == (0, 255)


def test_the_basis_is_that_of_all_images_together() -> None:
    maps, _ = planted()
    rows = torch.cat([patches.flatten(0, 1) for patches in maps])
    rows = rows - rows.mean(0)
    scores = rows @ torch.linalg.svd(rows, full_matrices=False).Vh[:3].T
    scores = scores * scores.pow(3).sum(0).sign()
    low, high = scores.quantile(0.01, dim=0), scores.quantile(0.99, dim=0)
    expected = ((scores - low) / (high - low)).clamp(0, 1) * 255
    found = torch.cat([map_.flatten(0, 1) for map_ in joint_colours(maps)]).float()
    assert (found - expected).abs().max() <= 0.51
    assert not torch.equal(joint_colours(maps[:1])[0], joint_colours(maps)[0])  # alone, another basis


def test_features_that_are_negated_turned_or_moved_give_the_same_picture() -> None:
    maps, _ = planted()
    turn = torch.linalg.qr(random(8, 8, seed=5)).Q
    flips = torch.tensor([1.0, -1, 1, 1, -1, -1, 1, -1])
    expected = joint_colours(maps)
    assert all(map(torch.equal, joint_colours([-patches for patches in maps]), expected))
    assert all(map(torch.equal, joint_colours([patches * flips for patches in maps]), expected))
    for colours, same in zip(joint_colours([patches @ turn + 3 for patches in maps]), expected, strict=True):
        assert (colours.int() - same.int()).abs().max() <= 1


def test_components_are_skewed_to_the_right() -> None:
    rows = -skewed(200, 5)
    assert (components(rows, 5).pow(3).sum(0) >= 0).all()


def test_equal_patches_give_a_picture_all_the_same() -> None:
    (colours,) = joint_colours([torch.ones(2, 2, 5)])
    assert len(colours.flatten(0, 1).unique(dim=0)) == 1


def object_in_the_middle(sign: float) -> list[Tensor]:
    patches = 0.1 * random(2, 8, 8, 6)
    patches[:, 2:6, 3:7, 0] += 5 * sign
    return list(patches)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_foreground_is_what_borders_have_less_of(sign: float) -> None:
    for colours in joint_colours(object_in_the_middle(sign), foreground=True):
        shown = colours.sum(-1) > 0
        inside = torch.zeros(8, 8, dtype=torch.bool)
        inside[2:6, 3:7] = True
        assert not shown[~inside].any() and shown[inside].float().mean() > 0.8


def test_most_of_an_image_may_be_foreground() -> None:
    first = torch.cat([torch.full((28,), 4.0), torch.full((36,), -1.0)])
    border = torch.arange(64) < 28
    assert torch.equal(is_foreground(first, border), ~border)


def test_a_threshold_counts_in_standard_deviations() -> None:
    first = random(1000)
    first = (first - first.mean()) / first.std(correction=0) * 7
    border = torch.arange(1000) % 3 == 0
    shares = [float(is_foreground(first, border, threshold).float().mean()) for threshold in (-1.0, 0.0, 1.0)]
    assert shares == pytest.approx([0.84, 0.5, 0.16], abs=0.03)
    with pytest.raises(ConfigError, match="threshold=99"):
        joint_colours([random(4, 4, 5)], foreground=True, threshold=99.0)


def test_parting_lies_between_two_groups() -> None:
    values = torch.cat([random(300), 10 + random(100, seed=1)])
    assert 3 < parting(values) < 8
    assert parting(torch.zeros(9)) == pytest.approx(0, abs=1)


def test_features_that_make_no_picture() -> None:
    with pytest.raises(ConfigError, match="2 dimensions"):
        joint_colours([random(4, 4, 2)])
    broken = random(4, 4, 5)
    broken[1, 2, 3] = torch.nan
    with pytest.raises(DataError, match="NaN"):
        joint_colours([broken])
