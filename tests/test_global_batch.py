"""The global batch is exact: ranks, modes and accumulation change nothing but rounding.

Three questions are asked of a layout. Does it train as one rank does, step after step? Does it find the same gradients
where it is given the parameters of a later step? Is what remains rounding: is it gone in float64?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.distributed.ranks import run_ranks
from tests.objective.factory import make_network
from tests.train.layouts import Trace, run_steps

LATER = 20
"""A step whose parameters, as one rank has them, are given to all layouts."""


@dataclass(frozen=True)
class Tolerance:
    """Of losses and norms, and of a gradient relative to its own norm."""

    values: float
    gradients: float


QUESTIONS = {
    "three steps": Tolerance(1e-5, 1e-5),
    "a later step": Tolerance(1e-5, 1e-5),
    "float64": Tolerance(1e-10, 1e-8),  # positions are resized in fp32 all the same
}
Layout = tuple[str, int]
"""A mode, and the micro-batches of a rank."""


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with what the parameters of one rank are before step `LATER`."""
    path = tmp_path_factory.mktemp("later") / "parameters.pt"
    torch.save(run_steps(0, 1, "none", 1, steps=range(LATER)).parameters, path)
    return path


@pytest.fixture(scope="module")
def expected(later: Path) -> dict[str, Trace]:
    """One rank, one micro-batch."""
    return answers(0, 1, ("none", 1), later, list(QUESTIONS))


def answers(rank: int, world: int, layout: Layout, later: Path, questions: Sequence[str]) -> dict[str, Trace]:
    """What a rank of a layout finds; in step 2 half of the images have no masked patch."""
    settings = {
        "three steps": {"steps": range(3)},
        "a later step": {"steps": [LATER], "start": torch.load(later)},
        "float64": {"steps": [2], "weights": torch.float64},
    }
    return {question: run_steps(rank, world, *layout, **settings[question]) for question in questions}


def _answers(rank: int, world: int, layouts: list[Layout], *others: object) -> list[dict[str, Trace]]:
    return [answers(rank, world, layout, *others) for layout in layouts]


def check(
    expected: dict[str, Trace],
    later: Path,
    world: int,
    layouts: Sequence[Layout],
    questions: Sequence[str] = tuple(QUESTIONS),
) -> None:
    """Every rank finds what one rank finds."""
    for of_rank in run_ranks(_answers, world, layouts, later, questions, world_size=world):
        for found in of_rank:
            assert_same(found, expected)


def assert_same(found: dict[str, Trace], expected: dict[str, Trace]) -> None:
    for question, trace in found.items():
        assert_same_steps(trace, expected[question], QUESTIONS[question])


def assert_same_steps(found: Trace, expected: Trace, tolerance: Tolerance) -> None:
    """Losses, norms and gradients of every step, each gradient relative to its own norm, and parameters in the end."""
    for mine, wanted in zip(found.values, expected.values, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=tolerance.values, atol=tolerance.values)
    for mine, wanted in zip(found.gradients, expected.gradients, strict=True):
        assert mine.keys() == wanted.keys() == dict(make_network(1).named_parameters()).keys()
        for name, value in wanted.items():
            error = (mine[name] - value).norm() / value.norm().clamp(min=1e-3)
            assert error < tolerance.gradients, (name, error)
    assert found.parameters.keys() == expected.parameters.keys()
    for name, value in expected.parameters.items():
        mine, wanted = (_without_bias_of_keys(name, parameter) for parameter in (found.parameters[name], value))
        torch.testing.assert_close(mine, wanted, rtol=tolerance.gradients, atol=1e-6, msg=name)


def _without_bias_of_keys(name: str, parameter: Tensor) -> Tensor:
    """What is left has gradients; those of a key's bias are rounding alone, which AdamW divides by itself."""
    if not name.endswith("qkv.bias"):
        return parameter
    queries, _, values = parameter.chunk(3)
    return torch.cat([queries, values])


def test_four_micro_batches_are_one_batch(expected: dict[str, Trace], later: Path) -> None:
    assert_same(answers(0, 1, ("none", 4), later, list(QUESTIONS)), expected)


def test_two_ranks_are_one_batch(expected: dict[str, Trace], later: Path) -> None:
    check(expected, later, 2, [("ddp", 2), ("fsdp", 1)], ["three steps", "float64"])


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_every_mode_is_one_batch(expected: dict[str, Trace], later: Path, world: int) -> None:
    check(expected, later, world, [("ddp", 1), ("ddp", 2), ("fsdp", 1), ("fsdp", 2), ("hsdp", 2)])


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_ten_times_over_without_a_hang(expected: dict[str, Trace], later: Path, world: int) -> None:
    for _ in range(10):
        check(expected, later, world, [("ddp", 1), ("fsdp", 1)], ["three steps"])


def test_the_bias_of_keys_changes_nothing() -> None:
    """It adds to all logits of a query the same, so that neither layouts nor AdamW can do harm through it."""
    plain = run_steps(0, 1, "none", 1, steps=[0])
    start = run_steps(0, 1, "none", 1, steps=[]).parameters
    numbers = torch.Generator().manual_seed(0)
    for name, value in start.items():
        if name.endswith("qkv.bias"):
            value.chunk(3)[1].add_(torch.randn(len(value) // 3, generator=numbers))
    moved = run_steps(0, 1, "none", 1, start=start, steps=[0])
    torch.testing.assert_close(moved.values, plain.values, rtol=1e-5, atol=1e-5)
    for name, gradient in plain.gradients[0].items():
        assert (moved.gradients[0][name] - gradient).norm() < 1e-5 * gradient.norm(), name
        if name.endswith("qkv.bias"):
            queries, keys, values = gradient.chunk(3)
            assert keys.norm() < 1e-6 * min(queries.norm(), values.norm())
