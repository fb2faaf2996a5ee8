"""Features beside disentangled ones, and their prefixes."""

from __future__ import annotations

import torch

from franca.evaluation.dense.variants import is_prefix, variants, with_full_width


def test_names_and_order() -> None:
    projector = torch.eye(8)
    assert [kind.suffix for kind in variants(8)] == [""]
    assert [kind.suffix for kind in variants(8, projector)] == ["", "_rasa"]
    names = ["", "_rasa", "_d4", "_d2", "_d1", "_rasa_d4", "_rasa_d2", "_rasa_d1"]
    assert [kind.suffix for kind in variants(8, projector, prefixes=True)] == names


def test_position_goes_before_the_cut() -> None:
    generator = torch.Generator().manual_seed(0)
    projector, patches = torch.randn(8, 8, generator=generator), torch.randn(2, 3, 4, 8, generator=generator)
    for kind in variants(8, projector, prefixes=True):
        whole = patches if "rasa" not in kind.suffix else patches @ projector
        torch.testing.assert_close(kind(patches), whole[..., : kind.width])
        torch.testing.assert_close(patches.double() @ kind.matrix(8), kind(patches).double(), atol=1e-5, rtol=1e-5)


def test_prefixes_are_grouped_by_what_they_are_of() -> None:
    metrics = {"miou": 4.0, "miou_rasa": 5.0, "miou_d4": 3.0, "miou_d2": 2.0, "miou_rasa_d4": 1.0, "accuracy": 0.5}
    found = with_full_width(metrics, 8)
    assert list(found) == [
        "miou",
        "miou_rasa",
        "accuracy",
        "miou_d8",
        "miou_d4",
        "miou_d2",
        "miou_rasa_d8",
        "miou_rasa_d4",
    ]
    assert found["miou_rasa_d8"] == 5.0
    assert is_prefix("miou_rasa_d4") and not is_prefix("miou_rasa") and is_prefix("_d12")
