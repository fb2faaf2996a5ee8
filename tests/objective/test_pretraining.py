"""The objective as a whole: terms, their sum, and indifference to how a global batch is cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from franca.batch import Batch
from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.objective.koleo import koleo_loss
from franca.objective.network import Network
from franca.objective.pretraining import Losses, PretrainingObjective
from franca.objective.prototypes import set_backend
from tests.objective.factory import cut, make_batch, make_network, make_objective


def losses_of(
    micro_batches: Sequence[Batch], objective: PretrainingObjective, student: Network, teacher: Network
) -> Losses:
    total = Losses.zero(torch.device("cpu"))
    for batch, target in zip(micro_batches, objective.targets(teacher, micro_batches, 0.05), strict=True):
        total += objective(student, batch, target)
    return total


def test_total_is_the_weighted_sum_of_all_levels() -> None:
    objective, batch = make_objective(), make_batch(0)
    losses = losses_of([batch], objective, make_network(1), make_network(2))
    assert list(losses.parts) == [
        *(f"{name}_d{width}" for name in ("dino", "ibot") for width in (16, 8, 4)),
        "koleo",
    ]
    expected = sum(losses.parts.values()) - 0.9 * losses.parts["koleo"]
    torch.testing.assert_close(losses.total, expected)


def test_all_levels_and_losses_are_the_same_in_chunks() -> None:
    objective, found = make_objective(), {}
    for backend in (Dense(), Chunked(2_000)):  # bytes: a tile of a few rows
        student, teacher = make_network(1), make_network(2)
        for network in (student, teacher):
            set_backend(network, backend)
        losses = losses_of(cut(make_batch(0), 2), objective, student, teacher)
        losses.total.backward()
        found[type(backend)] = losses.parts, {name: p.grad for name, p in student.named_parameters()}
    torch.testing.assert_close(found[Chunked], found[Dense], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("num_parts", [2, 4])
def test_cutting_the_batch_changes_neither_losses_nor_gradients(num_parts: int) -> None:
    objective = make_objective(koleo_group=1 if num_parts == 4 else 2)
    if num_parts == 4:  # groups of one image have no neighbour
        objective.koleo = None
    batch, teacher = make_batch(0), make_network(2)

    def gradients(parts: Sequence[Batch]) -> tuple[Losses, dict[str, Tensor]]:
        student = make_network(1)
        losses = losses_of(parts, objective, student, teacher)
        losses.total.backward()
        return losses, {name: p.grad for name, p in student.named_parameters() if p.grad is not None}

    whole, whole_gradients = gradients([batch])
    parts, part_gradients = gradients(cut(batch, num_parts))
    torch.testing.assert_close(parts.total, whole.total, rtol=1e-5, atol=1e-6)
    for name, value in whole.parts.items():
        torch.testing.assert_close(parts.parts[name], value, rtol=1e-5, atol=1e-6)
    for name, gradient in whole_gradients.items():
        torch.testing.assert_close(part_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_every_parameter_of_the_student_learns() -> None:
    student, teacher = make_network(1), make_network(2)
    losses_of([make_batch(0)], make_objective(), student, teacher).total.backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_koleo_sums_the_views_of_each_the_mean_over_images() -> None:
    objective, batch, student = make_objective(), make_batch(0), make_network(1)
    losses = losses_of([batch], objective, student, make_network(2))
    (crops,) = student.backbone.forward_crops([batch.global_crops], [batch.masks])
    views = crops.cls.view(2, 2, 2, 16)  # view, group, image, width
    expected = sum(koleo_loss(view).mean() for view in views)
    torch.testing.assert_close(losses.parts["koleo"], expected)


def test_sinkhorn_sees_all_micro_batches() -> None:
    objective, teacher = make_objective(), make_network(2)
    parts = cut(make_batch(0), 2)
    together = objective.targets(teacher, parts, 0.05)[0]["dino"][0].potentials
    alone = objective.targets(teacher, parts[:1], 0.05)[0]["dino"][0].potentials
    assert not torch.allclose(together, alone)


def test_without_local_crops() -> None:
    losses = losses_of([make_batch(0, num_local=0)], make_objective(), make_network(1), make_network(2))
    assert losses.total.isfinite()


def test_bf16_stays_near_fp32_and_returns_fp32() -> None:
    batch, student, teacher = make_batch(0), make_network(1), make_network(2)
    exact = losses_of([batch], make_objective(), student, teacher)
    objective = make_objective()
    objective.precision = torch.bfloat16
    rounded = losses_of([batch], objective, student, teacher)
    assert rounded.total.dtype == torch.float32
    torch.testing.assert_close(rounded.total, exact.total, rtol=0.05, atol=0.0)
