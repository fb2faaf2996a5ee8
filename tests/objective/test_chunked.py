"""The chunked form against the dense one: equal to rounding, whatever the cut, and bounded in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.memory import peak_bytes
from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.objective.logits import Logits
from franca.objective.targets import Pairs
from tests.distributed.ranks import run_ranks
from tests.objective.levels import LEVELS, Found, errors, find, ibot_pairs, make_level, odd_pairs

ONE_TILE, COLUMNS_CUT, ROWS_CUT = 2**24, 800_000, 50_000  # bytes


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("chunk_bytes", [ONE_TILE, COLUMNS_CUT, ROWS_CUT])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_equals_the_dense_form(name: str, chunk_bytes: int, dtype: torch.dtype, tolerance: float) -> None:
    level = LEVELS[name].to(dtype)
    found, expected = (find(backend, level) for backend in (Chunked(chunk_bytes), Dense()))
    assert {found.loss.dtype, found.of_bottleneck.dtype, found.of_weight.dtype} == {dtype}
    assert max(errors(found, expected).values()) < tolerance


def test_the_cuts_of_these_tests_are_what_they_are_called() -> None:
    level = LEVELS["ibot"].to(torch.float32)
    logits = Logits(level.student_rows, level.student_weight, 0.1, torch.float32)
    one, columns, rows = (Chunked(size).cut(logits, 141) for size in (ONE_TILE, COLUMNS_CUT, ROWS_CUT))
    assert one.columns == 700 and one.rows >= 141
    assert columns.columns == 256 and columns.rows >= 141
    assert rows.columns == 32 and rows.rows == 73


@settings(max_examples=40, deadline=None)
@given(
    num_rows=st.integers(1, 150),
    num_teacher_rows=st.integers(1, 150),
    num_pairs=st.integers(0, 40),
    num_prototypes=st.integers(2, 600),
    width=st.integers(1, 9),
    chunk_bytes=st.integers(1, 100_000),
)
def test_equals_the_dense_form_at_all_sizes(
    num_rows: int, num_teacher_rows: int, num_pairs: int, num_prototypes: int, width: int, chunk_bytes: int
) -> None:
    pairs = odd_pairs(num_rows, num_teacher_rows, num_pairs)
    level = make_level(pairs, num_rows, num_teacher_rows, num_prototypes=num_prototypes, width=width)
    found, expected = (find(backend, level) for backend in (Chunked(chunk_bytes), Dense()))
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-9, atol=1e-11)


def test_the_gradient_is_that_of_the_loss() -> None:
    level = make_level(odd_pairs(5, 3, 8), 5, 3, num_prototypes=300, width=4)
    backend = Chunked(ROWS_CUT)
    targets = backend.assign(level.teacher_rows, level.teacher_weight, temperature=0.04, num_iterations=3)

    def loss(bottleneck: Tensor, weight: Tensor) -> Tensor:
        return backend.cross_entropy(bottleneck, weight, targets, level.pairs, temperature=0.1)

    inputs = level.student_rows.clone().requires_grad_(), level.student_weight.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)


def test_cold_temperatures_and_logits_of_a_hundred_stay_exact() -> None:
    level = make_level(ibot_pairs(64), 64, 64, teacher_temperature=0.01, student_temperature=0.01)
    level.teacher_rows[:32] = torch.nn.functional.normalize(level.teacher_weight[:32], dim=1)  # logits of 100
    exact = find(Dense(), level)
    for backend in (Chunked(COLUMNS_CUT), Chunked(ROWS_CUT)):
        found = find(backend, level.to(torch.float32))
        assert all(value.isfinite().all() for value in vars(found).values())
        assert max(errors(found, exact).values()) < 2e-5  # a logit of 100 is itself rounded to 4e-6


def test_logits_far_beyond_the_range_of_exponentials_stay_finite() -> None:
    level = make_level(ibot_pairs(20), 20, 20, teacher_temperature=1e-4, student_temperature=1e-4)
    found = find(Chunked(ROWS_CUT), level.to(torch.float32))
    assert all(value.isfinite().all() for value in vars(found).values())


@pytest.mark.parametrize("name", LEVELS)
def test_bf16_products_are_as_near_to_exact_as_those_of_the_dense_form(name: str) -> None:
    level = LEVELS[name].to(torch.float32)
    exact = find(Dense(), level)
    found = errors(find(Chunked(COLUMNS_CUT), level, precision=torch.bfloat16), exact)
    dense = errors(find(Dense(), level, precision=torch.bfloat16), exact)
    assert found["potentials"] < 1e-6 and found["normalizers"] < 1e-6  # the teacher's products are fp32 always
    assert found["loss"] < 1e-3
    assert all(found[name] < 0.02 and found[name] < 1.2 * dense[name] for name in ("of_bottleneck", "of_weight"))


def test_no_rows_cost_nothing_and_give_zero_gradients() -> None:
    found = find(Chunked(ROWS_CUT), make_level(ibot_pairs(0), 0, 0))
    assert found.loss == 0 and found.of_bottleneck.shape == (0, 16) and not found.of_weight.any()


def test_gradients_follow_the_scale_of_the_loss_and_can_be_asked_for_again() -> None:
    level = LEVELS["dino"]
    once, twice = (find(Chunked(ROWS_CUT), level, scale=scale) for scale in (1.0, 2.0))
    torch.testing.assert_close(twice.of_weight, 2 * once.of_weight)
    torch.testing.assert_close(twice.of_bottleneck, 2 * once.of_bottleneck)


def test_a_retained_graph_gives_its_gradients_again_until_an_input_changes() -> None:
    level = LEVELS["dino"]
    rows = level.student_rows.clone().requires_grad_()
    targets = Chunked(ROWS_CUT).assign(level.teacher_rows, level.teacher_weight, temperature=0.04, num_iterations=1)
    loss = Chunked(ROWS_CUT).cross_entropy(rows, level.student_weight, targets, level.pairs, temperature=0.1)
    first, again = (torch.autograd.grad(loss, rows, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again) and first.any()
    with torch.no_grad():
        rows.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class CountedProducts(TorchFunctionMode):
    """How many matrix products of tiles are taken."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is Tensor.__matmul__ or func is Tensor.matmul
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("of_rows", "of_weight", "products"), [(True, True, 4), (True, False, 2), (False, True, 3), (False, False, 1)]
)
def test_only_the_gradients_asked_for_are_found(of_rows: bool, of_weight: bool, products: int) -> None:
    level, backend = LEVELS["dino"], Chunked(ONE_TILE)
    expected = find(backend, level)
    targets = backend.assign(level.teacher_rows, level.teacher_weight, temperature=0.04, num_iterations=3)
    rows = level.student_rows.clone().requires_grad_(of_rows)
    weight = level.student_weight.clone().requires_grad_(of_weight)
    with CountedProducts() as counted:
        loss = backend.cross_entropy(rows, weight, targets, level.pairs, temperature=0.1)
    assert counted.count == products
    torch.testing.assert_close(loss.detach(), expected.loss)
    assert loss.requires_grad == (of_rows or of_weight)
    if loss.requires_grad:
        loss.backward()
    for tensor, gradient in ((rows, expected.of_bottleneck), (weight, expected.of_weight)):
        if tensor.requires_grad:
            torch.testing.assert_close(tensor.grad, gradient)
    with torch.no_grad(), CountedProducts() as counted:
        backend.cross_entropy(rows, weight, targets, level.pairs, temperature=0.1)
    assert counted.count == 1


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize(("num_rows", "num_prototypes"), [(20, 20_000), (200, 4000), (800, 4000), (20_000, 600)])
def test_memory_is_bounded_by_the_chunk(num_rows: int, num_prototypes: int, precision: torch.dtype | None) -> None:
    chunk_bytes, width = 2**19, 16
    level = make_level(ibot_pairs(num_rows), num_rows, num_rows, num_prototypes=num_prototypes, width=width)
    level = level.to(torch.float32)
    peak = peak_bytes(lambda: find(Chunked(chunk_bytes), level, precision=precision), torch.device("cpu"))
    copied = gradients = 4 * width * (num_rows + num_prototypes)  # find() copies the student's rows and weight
    vectors = 4 * 8 * (num_prototypes + 2 * num_rows)
    sums = 4 * 5 * width * num_rows  # matrices as large as the bottlenecks
    assert peak < copied + gradients + vectors + sums + chunk_bytes
    assert 4 * num_rows * num_prototypes > 2 * chunk_bytes


def _of_part(rank: int, cases: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
    return [vars(_of_rows(slice(0, size) if rank == 0 else slice(size, 150), chunk)) for size, chunk in cases]


def _of_rows(mine: slice, chunk_bytes: int) -> Found:
    level = make_level(ibot_pairs(150), 150, 150).to(torch.float32)
    row = torch.arange(len(level.student_rows[mine]))
    part = replace(
        level,
        teacher_rows=level.teacher_rows[mine],
        student_rows=level.student_rows[mine],
        pairs=Pairs(row, row, level.pairs.weight[mine]),
    )
    return find(Chunked(chunk_bytes), part)


def test_two_ranks_equal_one() -> None:
    cases = [(108, COLUMNS_CUT), (108, ROWS_CUT), (150, ROWS_CUT)]  # rows of the first rank; the second may have none
    expected = find(Dense(), make_level(ibot_pairs(150), 150, 150).to(torch.float32))
    for parts in zip(*run_ranks(_of_part, cases), strict=True):
        first, second = (Found(**part) for part in parts)
        assert torch.equal(first.potentials, second.potentials)
        whole = Found(
            first.potentials,
            torch.cat([first.normalizers, second.normalizers]),
            first.loss + second.loss,
            torch.cat([first.of_bottleneck, second.of_bottleneck]),
            first.of_weight + second.of_weight,
        )
        assert max(errors(whole, expected).values()) < 1e-5
