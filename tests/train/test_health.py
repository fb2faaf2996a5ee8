"""Health: the same whatever ranks and micro-batches, measured when it is due, and without a trace in the training."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from franca.batch import Batch
from franca.distributed.ranks import Ranks
from franca.objective.chunked import Chunked
from franca.objective.prototypes import set_backend
from franca.train.checkpoint import Progress
from franca.train.clipping import Clip
from franca.train.health import MeasureHealth
from franca.train.loop import StepEvent
from franca.train.optim import build_optimizer
from franca.train.parallel import parallelize
from franca.train.step import StepResult, train_step
from franca.train.student_teacher import StudentTeacher
from tests.distributed.ranks import run_ranks
from tests.objective.factory import cut, make_batch, make_network, make_objective
from tests.train.layouts import batch_of
from tests.train.test_step import RATES, make, parameters

CPU = torch.device("cpu")


def event_of(step: int, batches: Sequence[Batch], result: StepResult, *, num_steps: int = 100) -> StepEvent:
    return StepEvent(Progress(step), num_steps, result, RATES, batches, 1.0, 0.0, False)


def measured(
    rank: int = 0, world: int = 1, mode: str = "none", accumulation: int = 1, chunked: bool = False
) -> list[dict[str, float]]:
    """Three steps, in the last of which half of the images have no masked patch, measured on one rank."""
    networks = StudentTeacher(make_network(1), make_network(2))
    parallelize(networks, mode, Ranks(rank=rank, world=world, local_world=world), device=CPU, precision="fp32")
    if chunked:
        set_backend(networks, Chunked(1))
    objective, optimizer = make_objective(), build_optimizer(networks.student)
    measure = MeasureHealth(networks, objective, optimizer, every_steps=1, log_every_steps=1)
    found = []
    for step in range(3):
        mine = cut(batch_of(step), world * accumulation)[rank * accumulation : (rank + 1) * accumulation]
        result = train_step(networks, objective, optimizer, mine, RATES, clip=Clip(3.0))
        found.append(measure(event_of(step + 1, mine, result)))
    return found


def assert_same(found: Sequence[dict[str, float]], expected: Sequence[dict[str, float]]) -> None:
    for step, wanted in zip(found, expected, strict=True):
        assert step == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_every_level_and_part_has_its_numbers() -> None:
    levels = [f"{term}_d{width}" for term in ("dino", "ibot") for width in (16, 8, 4)]
    of_levels = ("loss_over_ln_k", "target_entropy", "prototypes_used", "target_perplexity")
    names = {f"{number}/{level}" for number in of_levels for level in levels}
    names |= {"feature_spread", "effective_rank"}
    names |= {f"update_ratio/{part}" for part in ("backbone", "dino_head", "ibot_head")}
    for line in measured():
        assert set(line) == names
        assert all(0 < value < 1 + 1e-6 for name, value in line.items() if name.startswith("target_"))


@pytest.mark.parametrize("accumulation", [4, 32 // 2])
def test_accumulation_changes_nothing(accumulation: int) -> None:
    assert_same(measured(accumulation=accumulation), measured())


def test_backends_change_nothing() -> None:
    assert_same(measured(chunked=True), measured())


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_ranks_change_nothing(mode: str) -> None:
    expected = measured()
    for found in run_ranks(_rank, mode):
        assert_same(found, expected)


def _rank(rank: int, mode: str) -> list[dict[str, float]]:
    return measured(rank, 2, mode, 2)


def test_a_student_that_gives_all_prototypes_the_same_has_a_loss_of_ln_k_whatever_is_masked() -> None:
    networks, optimizer = make()
    with torch.no_grad():
        for head in networks.student.heads.values():
            for prototypes in head.prototypes:
                prototypes.weight.copy_(prototypes.weight[:1].clone())
    objective, batch = make_objective(), make_batch(0)
    assert objective.clusterings[1].total_weight(batch) < 1, "some crops are to be without a mask"
    rates = RATES.__class__(**vars(RATES) | {"learning_rate": 0.0})
    result = train_step(networks, objective, optimizer, [batch], rates, clip=Clip(3.0))
    line = MeasureHealth(networks, objective, optimizer, every_steps=1, log_every_steps=1)(event_of(1, [batch], result))
    ratios = [value for name, value in line.items() if name.startswith("loss_over_ln_k/")]
    assert ratios == pytest.approx([1.0] * 6, abs=1e-5)


def test_measuring_leaves_no_trace() -> None:
    kept = []
    for every_steps in (1, None):
        networks, optimizer = make()
        objective = make_objective()
        measure = MeasureHealth(networks, objective, optimizer, every_steps=every_steps, log_every_steps=1)
        for step in range(3):
            batches = cut(make_batch(step), 2)
            result = train_step(networks, objective, optimizer, batches, RATES, clip=Clip(3.0))
            assert bool(measure(event_of(step + 1, batches, result))) is (every_steps is not None)
        kept.append(parameters(networks))
    for name, value in kept[0].items():
        assert torch.equal(value, kept[1][name]), name


@pytest.mark.parametrize(
    ("every_steps", "log_every_steps", "due"),
    [(4, 1, [4, 8, 12, 14]), (4, 3, [6, 9, 12, 14]), (2, 5, [5, 10, 14]), (100, 1, [14]), (None, 1, [])],
)
def test_it_is_measured_on_the_first_line_after_so_many_steps_and_at_the_end(
    every_steps: int | None, log_every_steps: int, due: list[int]
) -> None:
    networks, optimizer = make()
    objective, batch = make_objective(), make_batch(0)
    result = train_step(networks, objective, optimizer, [batch], RATES, clip=Clip(3.0))
    measure = MeasureHealth(networks, objective, optimizer, every_steps=every_steps, log_every_steps=log_every_steps)
    assert [step for step in range(1, 15) if measure(event_of(step, [batch], result, num_steps=14))] == due


def test_a_step_that_was_not_applied_is_not_measured() -> None:
    networks, optimizer = make()
    objective, batch = make_objective(), make_batch(0)
    result = train_step(networks, objective, optimizer, [batch], RATES, clip=Clip(3.0))
    bad = StepResult(result.losses, result.norms, applied=False)
    measure = MeasureHealth(networks, objective, optimizer, every_steps=1, log_every_steps=1)
    assert measure(event_of(1, [batch], bad)) == {}
