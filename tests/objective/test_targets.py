"""Targets give what is computed from them; pairs are a matrix of weights."""

from __future__ import annotations

import torch

from franca.objective.dense import Dense
from franca.objective.targets import Targets
from tests.objective.levels import LEVELS


def make_targets() -> Targets:
    level = LEVELS["dino"].to(torch.float32)
    return Dense().assign(level.teacher_rows, level.teacher_weight, temperature=0.04, num_iterations=3)


def test_assignments_follow_from_potentials_and_normalizers() -> None:
    targets = make_targets()
    expected = (targets.logits.matrix() + targets.potentials - targets.normalizers[:, None]).exp()
    torch.testing.assert_close(targets.assignments(), expected, rtol=1e-4, atol=1e-7)


def test_parts_hold_the_rows_of_the_whole_and_copy_nothing() -> None:
    targets = make_targets()
    parts = targets.split([5, 0, 61])
    torch.testing.assert_close(torch.cat([part.assignments() for part in parts]), targets.assignments())
    assert torch.equal(torch.cat([part.normalizers for part in parts]), targets.normalizers)
    assert all(part.weight is targets.weight for part in parts)
    assert targets.weight.data_ptr() == parts[0].weight.data_ptr()


def test_pairs_are_a_matrix_of_weights() -> None:
    pairs = LEVELS["odd"].pairs  # 133 students, 9 teachers; some meet often, some never
    matrix = torch.zeros(133, 9)
    for i, t, weight in zip(pairs.student, pairs.teacher, pairs.weight, strict=True):
        matrix[i, t] += weight
    students, teachers = torch.randn(133, 4), torch.randn(9, 4)
    torch.testing.assert_close(pairs.per_student(133, torch.float32), matrix.sum(dim=1))
    torch.testing.assert_close(pairs.to_teacher(students, 9), matrix.T @ students)
    torch.testing.assert_close(pairs.to_student(teachers, 133), matrix @ teachers)
