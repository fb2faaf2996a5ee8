"""Our backbone beside the references, where checkouts of them are named."""

from __future__ import annotations

import os

import pytest
import torch

from benchmarks import parity
from benchmarks.parity import CASES, Case, compare, relative_error
from benchmarks.reference_outputs import outputs, parse_size
from franca.models.releases import WEIGHTS
from tests.models.test_vision_transformer import small


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dinov2_vits14", "dinov2_vits14_reg", "franca_vitb14"])
def test_small_models_equal_their_reference(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    if case.variable not in os.environ:
        pytest.skip(f"{case.variable} names no checkout")
    for found in compare(case, [(224, 224), (224, 280), (294, 210)]):
        assert found.worst <= parity.TOLERANCE, found
        assert found.num_outputs > 15


def test_every_released_grid_is_compared_once() -> None:
    assert {(case.name, case.grid_px // 14) for case in CASES} == {
        (one.model, one.grid[0]) for one in WEIGHTS if one.public
    }
    assert len(set(CASES)) == len(CASES)
    assert Case("dinov2_vitg14_reg", 518) in CASES
    assert Case("franca_vitl14", 224).variable == "FRANCA_REFERENCE_FRANCA"


def test_a_different_network_is_found() -> None:
    model, other = (small(patch_size_px=14, image_size_px=28, depth=4).eval() for _ in range(2))
    torch.nn.init.zeros_(other.blocks[1].ls2.gamma)
    images, masks = torch.randn(2, 3, 28, 42), torch.rand(2, 6) < 0.4
    with torch.no_grad():
        one, same, changed = (outputs(network, images, masks) for network in (model, model, other))
    assert max(relative_error(one[name], same[name]) for name in one) == 0
    assert relative_error(changed["forward"], one["forward"]) > 1e-2
    assert relative_error(changed["forward_features masked x_norm_patchtokens"], one["forward"]) == float("inf")


def test_relative_error() -> None:
    wanted = torch.tensor([1.0, -4.0])
    assert relative_error(wanted + torch.tensor([0.0, 0.5]), wanted) == 0.125
    assert relative_error(torch.tensor([1.0, float("nan")]), wanted) == float("inf")
    assert relative_error(wanted[:1], wanted) == float("inf")
    assert relative_error(wanted[:0], wanted[:0]) == 0


def test_sizes_are_height_by_width() -> None:
    assert parse_size("224x280") == (224, 280)


def test_nothing_to_compare_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for variable in parity.VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.argv", ["parity"])
    with pytest.raises(SystemExit) as stopped:
        parity.main()
    assert stopped.value.code == 2
    assert "FRANCA_REFERENCE_DINOV2 or FRANCA_REFERENCE_FRANCA" in capsys.readouterr().err
