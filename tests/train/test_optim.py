"""Who gets which share of the rates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from franca.train.optim import Share, build_optimizer, parameter_share, set_rates
from franca.train.schedules import Rates
from tests.objective.factory import make_network

RATES = Rates(
    learning_rate=0.1, weight_decay=0.2, teacher_momentum=0.9, teacher_temperature=0.05, prototypes_frozen=False
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("backbone.blocks.1.attn.qkv.weight", Share(0.5**2, 1.0, True, False)),
        ("backbone.blocks.2.attn.qkv.bias", Share(0.5, 0.0, True, False)),
        ("backbone.blocks.0.norm1.weight", Share(0.5**3, 0.0, True, False)),
        ("backbone.blocks.0.ls1.gamma", Share(0.5**3, 0.0, True, False)),
        ("backbone.norm.weight", Share(1.0, 0.0, True, False)),
        ("backbone.cls_token", Share(0.5**4, 1.0, True, False)),
        ("backbone.patch_embed.proj.weight", Share(0.5**4 * 0.2, 1.0, True, False)),
        ("heads.dino.projections.0.layers.0.weight", Share(1.0, 1.0, False, False)),
        ("heads.ibot.prototypes.2.weight", Share(1.0, 1.0, False, True)),
    ],
)
def test_shares(name: str, expected: Share) -> None:
    share = parameter_share(name, depth=3, patch_embed_multiplier=0.2, layer_decay=0.5)
    assert share == expected


def test_every_parameter_is_in_exactly_one_group() -> None:
    student = make_network(0)
    optimizer = build_optimizer(student)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in student.parameters())


@pytest.mark.parametrize(("frozen", "part"), [("prototypes_frozen", ".prototypes."), ("backbone_frozen", "backbone.")])
def test_rates_reach_the_groups_and_what_is_frozen_stands_still(frozen: str, part: str) -> None:
    student = make_network(0)
    optimizer = build_optimizer(student, patch_embed_multiplier=0.2)
    set_rates(optimizer, RATES)
    found = {(round(g["lr"], 9), g["weight_decay"]) for g in optimizer.param_groups}
    assert found == {(0.1, 0.2), (0.1, 0.0), (0.02, 0.2), (0.02, 0.0)}
    set_rates(optimizer, replace(RATES, **{frozen: True}))
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, parameter in student.named_parameters():
        assert torch.equal(parameter, before[name]) == (part in name), name


def test_state_exists_before_the_first_step_and_is_zero() -> None:
    student = make_network(0)
    before = [p.detach().clone() for p in student.parameters()]
    optimizer = build_optimizer(student)
    assert all(torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))
    assert all(p.grad is None for p in student.parameters())
    for state in optimizer.state.values():
        assert not any(value.any() for value in state.values())
