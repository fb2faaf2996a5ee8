"""DINO's and iBOT's pairs against the losses written as loops over crops, images and patches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from franca.objective.dino import ClassTokens
from franca.objective.ibot import MaskedPatches
from tests.objective.factory import cut, make_batch


def cross_entropies(num_teacher: int, num_student: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random assignments q, log-probabilities log p, and H(q_t, p_s) for every pair of rows."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(num_teacher, 6, generator=generator).softmax(1)
    log_p = F.log_softmax(torch.randn(num_student, 6, generator=generator), dim=1)
    return q, log_p, -q @ log_p.T


@pytest.mark.parametrize("num_local", [0, 1, 8])
def test_dino_is_the_mean_over_all_pairs_of_different_views(num_local: int) -> None:
    batch = make_batch(0, num_images=3, num_local=num_local)
    cost = cross_entropies(2 * 3, (2 + num_local) * 3)[2]
    expected, num_terms = torch.zeros(()), 0
    for teacher_view in range(2):
        for student_view in range(2 + num_local):
            if student_view != teacher_view:
                num_terms += 1
                for image in range(3):
                    expected += cost[teacher_view * 3 + image, student_view * 3 + image] / 3
    assert num_terms == 2 + 2 * num_local
    pairs = ClassTokens().pairs(batch)
    found = (cost[pairs.teacher, pairs.student] * pairs.weight).sum()
    torch.testing.assert_close(found, expected / num_terms)


def test_ibot_is_a_mean_over_masked_patches_divided_by_all_crops() -> None:
    batch = make_batch(1)
    num_masked = int(batch.masks.sum())
    cost = cross_entropies(num_masked, num_masked)[2].diagonal()
    expected, row = torch.zeros(()), 0
    for mask in batch.masks:
        count = int(mask.sum())
        if count:
            expected += cost[row : row + count].mean()
        row += count
    pairs = MaskedPatches().pairs(batch)
    found = (cost[pairs.student] * pairs.weight).sum()
    torch.testing.assert_close(found, expected / 8)


def test_ibot_without_a_masked_patch_has_no_pairs() -> None:
    batch = make_batch(1)
    pairs = MaskedPatches().pairs(
        replace(batch, masks=torch.zeros_like(batch.masks), masked_rows=torch.empty(0, dtype=torch.int64))
    )
    assert len(pairs.weight) == 0


@pytest.mark.parametrize("tokens", [ClassTokens(), MaskedPatches()])
def test_weights_of_micro_batches_add_up_to_those_of_the_global_batch(tokens: ClassTokens | MaskedPatches) -> None:
    batch = make_batch(2)
    whole = tokens.pairs(batch).weight.sum()
    parts = sum(tokens.pairs(part).weight.sum() for part in cut(batch, 4))
    torch.testing.assert_close(parts, whole)
