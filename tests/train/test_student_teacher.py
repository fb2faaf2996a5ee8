"""The teacher: equal at first, then a slow follower without gradients."""

from __future__ import annotations

import torch

from franca.train.student_teacher import StudentTeacher
from tests.objective.factory import make_network


def make() -> StudentTeacher:
    return StudentTeacher(make_network(1), make_network(2))


def test_the_teacher_moves_by_the_formula() -> None:
    networks = make()
    before = {name: p.clone() for name, p in networks.teacher.named_parameters()}
    networks.update_teacher(0.9)
    student = dict(networks.student.named_parameters())
    for name, parameter in networks.teacher.named_parameters():
        torch.testing.assert_close(parameter, 0.9 * before[name] + 0.1 * student[name].detach())


def test_a_momentum_close_to_one_still_moves_it() -> None:
    networks = make()
    before = networks.teacher.backbone.pos_embed.clone()
    networks.update_teacher(0.9999)
    assert not torch.equal(networks.teacher.backbone.pos_embed, before)


def test_the_teacher_takes_no_gradient_and_stays_in_evaluation_mode() -> None:
    networks = make()
    networks.train()
    assert networks.student.training and not networks.teacher.training
    assert not any(p.requires_grad for p in networks.teacher.parameters())
    assert all(p.requires_grad for p in networks.student.parameters())


def test_the_student_shares_no_memory_with_the_teacher() -> None:
    networks = make()
    networks.initialize(0, torch.device("cpu"))
    student = dict(networks.student.named_parameters())
    for name, parameter in networks.teacher.named_parameters():
        assert torch.equal(parameter, student[name]) and parameter.data_ptr() != student[name].data_ptr()


def test_what_is_not_initialised_is_nan() -> None:
    networks = make()
    networks.materialize(torch.device("cpu"))
    assert all(p.isnan().all() for p in networks.parameters())
    networks.initialize(0, torch.device("cpu"))
    assert all(p.isfinite().all() for p in networks.parameters())


def test_the_seed_fixes_all_weights() -> None:
    networks = [make(), make(), make()]
    for seed, pair in zip((5, 5, 6), networks, strict=True):
        pair.initialize(seed, torch.device("cpu"))
    a, b, c = ([p.detach() for p in pair.student.parameters()] for pair in networks)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(a, c, strict=True))
