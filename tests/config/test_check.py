from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from franca.config.check import problems
from franca.config.schema import Config


def changed(**groups: dict[str, Any]) -> Config:
    config = Config()
    groups.setdefault("data", {}).setdefault("train", "synthetic")
    return replace(config, **{name: replace(getattr(config, name), **values) for name, values in groups.items()})


def test_the_defaults_fit_together() -> None:
    assert problems(changed()) == []


def test_data_train_is_needed_only_for_training() -> None:
    assert [problem.keys for problem in problems(Config())] == [("data.train",)]
    assert problems(Config(), need_data=False) == []


@pytest.mark.parametrize(
    ("groups", "key", "text"),
    [
        ({"data": {"global_size_px": 225}}, "data.global_size_px", "take 224 or 238"),
        ({"data": {"local_size_px": 8}}, "data.local_size_px", "take 14"),
        ({"data": {"global_scale": [1.0, 0.3]}}, "data.global_scale", "[smallest, largest]"),
        ({"data": {"local_scale": [0.3]}}, "data.local_scale", "[smallest, largest]"),
        ({"data": {"local_scale": [0.0, 0.3]}}, "data.local_scale", "cannot cover none"),
        ({"objective": {"mask_ratio": [0.6, 0.1]}}, "objective.mask_ratio", "[smallest, largest]"),
        ({"objective": {"mask_aspect": [2.0, 1.0]}}, "objective.mask_aspect", "[smallest, largest]"),
        ({"data": {"mean": [0.5]}}, "data.mean", "three numbers"),
        ({"data": {"std": [0.5] * 4}}, "data.std", "three numbers"),
        ({"data": {"train": ["a", "b"], "weights": [1.0]}}, "data.weights", "each of the 2 items of data.train"),
        ({"data": {"train": ["a", "b"], "weights": [1.0, 0.0]}}, "data.weights", "a number above 0"),
        ({"data": {"train": "a", "weights": [1.0, 1.0]}}, "data.weights", "each of the 1 items"),
        ({"model": {"num_heads": 7}}, "model.num_heads", "7 heads do not divide the width 768"),
        ({"model": {"width": 100}}, "model.num_heads", "12 heads do not divide the width 100"),
        ({"objective": {"nesting": []}}, "objective.nesting", "start with 1"),
        ({"objective": {"nesting": [0.5, 0.25]}}, "objective.nesting", "start with 1"),
        ({"objective": {"nesting": [1, 0.25, 0.5]}}, "objective.nesting", "decreasing"),
        ({"objective": {"nesting": [1, 1]}}, "objective.nesting", "decreasing"),
        ({"objective": {"nesting": [1, 0.3]}}, "objective.nesting", "whole dimensions"),
        ({"objective": {"nesting": [1, 0]}}, "objective.nesting", "whole dimensions"),
        ({"objective": {"num_prototypes": 16}}, "objective.nesting", "two at least"),
        ({"objective": {"num_prototypes": 1000}}, "objective.nesting", "is 62.5"),
        ({"performance": {"micro_batch": 3}}, "performance.micro_batch", "take a divisor"),
        ({"performance": {"micro_batch": 16}}, "objective.koleo_group_size", "groups of 32 images"),
        ({"objective": {"koleo_group_size": 5}}, "objective.koleo_group_size", "groups of 5 images"),
        ({"performance": {"device": "gpu"}}, "performance.device", "cuda:N"),
        ({"init": {"backbone": "a", "full": "b"}}, "init.backbone", "not both"),
        (
            {"objective": {"dino_weight": 0.0, "ibot_weight": 0.0, "koleo_weight": 0.0}},
            "objective.dino_weight",
            "every loss has weight 0",
        ),
    ],
)
def test_what_does_not_fit_is_told(groups: dict[str, dict[str, Any]], key: str, text: str) -> None:
    found = problems(changed(**groups))
    assert key in {problem.keys[0] for problem in found}
    assert any(text in problem.text for problem in found)


@pytest.mark.parametrize(
    "groups",
    [
        {"data": {"num_local_crops": 0, "local_size_px": 97}},
        {"objective": {"nesting": [1, 1 / 3], "num_prototypes": 3000}},
        {"objective": {"nesting": [1]}},
        {"objective": {"koleo_weight": 0.0}, "train": {"global_batch": 37}},
        {"objective": {"koleo_group_size": 16}, "performance": {"micro_batch": 16}},
        {"performance": {"device": "cuda:1"}},
        {"model": {"arch": "vit_tiny", "width": 96, "num_heads": 3}},
        {"train": {"global_batch": 37}},
        {"train": {"steps": 1}},
    ],
)
def test_what_fits_passes(groups: dict[str, dict[str, Any]]) -> None:
    assert problems(changed(**groups)) == []
