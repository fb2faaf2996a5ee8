"""The prototype loss against loops over pairs, and what targets promise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from franca.objective.chunked import Chunked
from franca.objective.heads import MatryoshkaHead
from franca.objective.prototypes import Prototypes, set_backend
from franca.objective.targets import Pairs, Targets

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def prototypes_of(num: int, width: int) -> Prototypes:
    prototypes = Prototypes(num, width)
    prototypes.reset_parameters(GENERATOR)
    return prototypes


def test_loss_is_the_weighted_sum_of_cross_entropies_over_pairs() -> None:
    teacher, student = prototypes_of(7, 4), prototypes_of(7, 4)
    z_teacher, z_student = F.normalize(draw(5, 4), dim=1), F.normalize(draw(6, 4), dim=1).requires_grad_()
    targets = teacher.assign(z_teacher, temperature=0.05, num_iterations=3)
    pairs = Pairs(torch.tensor([0, 1, 1, 5, 3]), torch.tensor([2, 2, 0, 4, 3]), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]))
    loss = student(z_student, targets, pairs, temperature=0.1)

    expected = torch.zeros(())
    for i, t, weight in zip(pairs.student, pairs.teacher, pairs.weight, strict=True):
        q = targets.assignments()[t]
        log_p = F.log_softmax(z_student[i] @ F.normalize(student.weight, dim=1).T / 0.1, dim=0)
        expected = expected - weight * (q * log_p).sum()
    torch.testing.assert_close(loss, expected)

    inputs = [z_student, student.weight]
    for ours, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_assignments_are_balanced_over_all_rows_and_split_by_micro_batch() -> None:
    teacher = prototypes_of(4, 8)
    z = F.normalize(draw(64, 8) + 1, dim=1)  # all rows lean one way: unbalanced without Sinkhorn-Knopp
    targets = teacher.assign(z, temperature=0.1, num_iterations=50)
    q = targets.assignments()
    torch.testing.assert_close(q.sum(dim=0), torch.full((4,), 16.0), rtol=1e-2, atol=1e-2)
    parts = targets.split([10, 54])
    torch.testing.assert_close(torch.cat([part.assignments() for part in parts]), q)


def test_the_length_of_a_prototype_does_not_matter() -> None:
    prototypes = prototypes_of(5, 3)
    z, pairs = F.normalize(draw(2, 3), dim=1), Pairs(torch.arange(2), torch.arange(2), torch.ones(2))
    targets = prototypes.assign(z, temperature=0.05, num_iterations=3)
    before = prototypes(z, targets, pairs, temperature=0.1)
    with torch.no_grad():
        prototypes.weight *= torch.tensor([0.1, 1.0, 2.0, 5.0, 100.0])[:, None]
    torch.testing.assert_close(prototypes(z, targets, pairs, temperature=0.1), before)


def test_no_rows_cost_nothing_and_give_zero_gradients() -> None:
    prototypes = prototypes_of(5, 3)
    empty = torch.empty(0, dtype=torch.int64)
    targets: Targets = prototypes.assign(torch.empty(0, 3), temperature=0.05, num_iterations=3)
    loss = prototypes(torch.empty(0, 3), targets, Pairs(empty, empty, torch.empty(0)), temperature=0.1)
    loss.backward()
    assert loss == 0
    assert prototypes.weight.grad is not None and not prototypes.weight.grad.any()


def test_targets_carry_no_gradient() -> None:
    teacher = prototypes_of(5, 3)
    targets = teacher.assign(draw(4, 3).requires_grad_(), temperature=0.05, num_iterations=3)
    assert not targets.weight.requires_grad and not targets.potentials.requires_grad


def test_every_level_of_a_module_takes_the_backend() -> None:
    head = MatryoshkaHead(8, (8, 4), (6, 3), hidden=4, bottleneck=3)
    set_backend(head, Chunked(1024))
    assert [prototypes.backend for prototypes in head.prototypes] == [Chunked(1024)] * 2
