"""The step: what it does in which order, cut batches, and what is not finite."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from franca.train.clipping import Clip
from franca.train.optim import build_optimizer
from franca.train.schedules import Rates
from franca.train.step import StepResult, train_step
from franca.train.student_teacher import StudentTeacher
from tests.objective.factory import cut, make_batch, make_network, make_objective

RATES = Rates(
    learning_rate=1e-3, weight_decay=0.05, teacher_momentum=0.9, teacher_temperature=0.05, prototypes_frozen=False
)


def make() -> tuple[StudentTeacher, torch.optim.Optimizer]:
    networks = StudentTeacher(make_network(1), make_network(2))
    return networks, build_optimizer(networks.student)


def step(networks: StudentTeacher, optimizer: torch.optim.Optimizer, num_parts: int = 1) -> StepResult:
    return train_step(networks, make_objective(), optimizer, cut(make_batch(0), num_parts), RATES, clip=Clip(3.0))


def parameters(networks: StudentTeacher) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in networks.named_parameters()}


def test_student_and_teacher_both_move_and_gradients_are_dropped() -> None:
    networks, optimizer = make()
    before = parameters(networks)
    result = step(networks, optimizer)
    assert result.applied
    for name, value in parameters(networks).items():
        assert not torch.equal(value, before[name]), name
    assert all(p.grad is None for p in networks.parameters())


def test_the_teacher_follows_the_student_of_after_the_step() -> None:
    networks, optimizer = make()
    before = parameters(networks)
    step(networks, optimizer)
    after = parameters(networks)
    name = "backbone.blocks.0.attn.qkv.weight"
    expected = 0.9 * before[f"teacher.{name}"] + 0.1 * after[f"student.{name}"]
    torch.testing.assert_close(after[f"teacher.{name}"], expected)


def test_accumulation_takes_the_same_steps_as_one_batch() -> None:
    whole, parts = make(), make()
    for _ in range(3):
        a, b = step(*whole), step(*parts, num_parts=2)
        torch.testing.assert_close(a.losses.total, b.losses.total, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(a.norms.total, b.norms.total, rtol=1e-4, atol=1e-5)
    expected = parameters(whole[0])
    for name, value in parameters(parts[0]).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing_and_says_so(bad: float) -> None:
    networks, optimizer = make()
    before = parameters(networks)
    batch = make_batch(0)
    crops = batch.global_crops.clone()
    crops[0, 0, 0, 0] = bad
    result = train_step(
        networks, make_objective(), optimizer, [replace(batch, global_crops=crops)], RATES, clip=Clip(3.0)
    )
    assert not result.applied
    for name, value in parameters(networks).items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in networks.parameters())
    assert step(networks, optimizer).applied


def test_stochastic_depth_is_a_function_of_the_batch_seed() -> None:
    objective, teacher = make_objective(), make_network(2)
    student = make_network(1, stochastic_depth=0.5)
    batch = make_batch(0)
    target = objective.targets(teacher, [batch], 0.05)[0]
    totals = [objective(student, replace(batch, seed=seed), target).total for seed in (1, 1, 2)]
    assert totals[0] == totals[1] != totals[2]
