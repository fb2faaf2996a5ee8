"""Statistics of targets: against assignments that are held, and where the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from operator import add

import pytest
import torch
from torch import Tensor

from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.objective.target_statistics import TargetSums
from franca.objective.targets import Targets
from tests.objective.levels import LEVELS, ibot_pairs, make_level


def targets_of(name: str, *, temperature: float = 0.04) -> Targets:
    level = LEVELS[name]
    return Dense().assign(level.teacher_rows, level.teacher_weight, temperature=temperature, num_iterations=3)


def assert_same(found: TargetSums, expected: TargetSums) -> None:
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, msg=name)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("chunk_bytes", [1, 2**17, 2**30])
def test_sums_are_those_of_the_held_assignments(name: str, chunk_bytes: int) -> None:
    targets = targets_of(name)
    q = targets.assignments()  # [R, K]
    sums = TargetSums.of(targets, chunk_bytes=chunk_bytes)
    num_rows, num_prototypes = q.shape
    assert sums.num_rows == num_rows
    entropy = -(q * q.log()).sum(dim=1).mean() / math.log(num_prototypes)
    torch.testing.assert_close(sums.mean_entropy, entropy)
    torch.testing.assert_close(sums.mass, q.sum(dim=0))
    first = q.argmax(dim=1)
    assert sums.wins.tolist() == [int((first == k).sum()) for k in range(num_prototypes)]
    assert sums.used == len(first.unique()) / min(num_rows, num_prototypes)
    mean = q.mean(dim=0)
    torch.testing.assert_close(sums.perplexity, (-(mean * mean.log()).sum()).exp() / num_prototypes)


def test_backends_give_the_same_statistics() -> None:
    level = LEVELS["ibot"]
    chunked = Chunked(2**16).assign(level.teacher_rows, level.teacher_weight, temperature=0.04, num_iterations=3)
    assert_same(TargetSums.of(chunked), TargetSums.of(targets_of("ibot")))


def test_parts_add_up_and_no_row_adds_nothing() -> None:
    targets = targets_of("ibot")
    parts = targets.split([100, 0, 41])
    assert_same(reduce(add, map(TargetSums.of, parts)), TargetSums.of(targets))


def known(log_q: Tensor) -> TargetSums:
    """Statistics of assignments that are given, through prototypes along the axes."""
    num_prototypes = log_q.shape[1]
    return TargetSums.of(
        Targets(log_q, torch.eye(num_prototypes), torch.zeros(num_prototypes), log_q.logsumexp(dim=1), 1.0)
    )


def test_extremes_are_where_they_are_said_to_be() -> None:
    uniform, one_for_each, all_the_same = torch.zeros(8, 8), 100 * torch.eye(8), 100 * torch.eye(8)[[3] * 8]
    for log_q, entropy, used, perplexity in (
        (uniform, 1, 1 / 8, 1),
        (one_for_each, 0, 1, 1),
        (all_the_same, 0, 1 / 8, 1 / 8),
    ):
        sums = known(log_q)
        found = [float(sums.mean_entropy), float(sums.used), float(sums.perplexity)]
        assert found == pytest.approx([entropy, used, perplexity], abs=1e-6)


def test_fewer_rows_than_prototypes_can_use_as_many_as_rows() -> None:
    assert known(100 * torch.eye(8)[:2]).used == 1


def test_without_rows_there_is_no_number() -> None:
    level = make_level(ibot_pairs(0), 0, 0, num_prototypes=12)
    sums = TargetSums.of(Dense().assign(level.teacher_rows, level.teacher_weight, temperature=0.04, num_iterations=3))
    assert all(math.isnan(float(value)) for value in (sums.mean_entropy, sums.used, sums.perplexity))


def test_what_is_not_finite_shows() -> None:
    targets = targets_of("ibot")
    bad = replace(targets, normalizers=torch.full_like(targets.normalizers, math.nan))
    assert math.isnan(float(TargetSums.of(bad).mean_entropy))
