"""The fused form, by Triton's interpreter where there is no GPU, against held logits and the dense form."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.objective.fused import Fused, FusedStrip, why_not
from franca.objective.logits import Logits
from franca.objective.strips import HeldStrip
from tests.distributed.ranks import run_ranks
from tests.objective.levels import LEVELS, Found, Level, errors, find

CPU = torch.device("cpu")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
SIZES = [(70, 131, 37), (3, 700, 64), (100, 65, 33), (1, 2, 1), (0, 10, 5)]  # no multiples of the kernel's blocks


def sums(size: tuple[int, int, int], dtype: torch.dtype, device: torch.device = CPU) -> list[tuple[Tensor, Tensor]]:
    """Every sum by the kernel with what it should be, for factors that ``dtype`` holds exactly."""
    num_rows, num_prototypes, width = size
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(num_rows, width, generator=generator), dim=1).to(dtype).float()
    weight = torch.randn(num_prototypes, width, generator=generator).to(dtype).float()
    u, v = torch.randn(num_rows, generator=generator), torch.randn(num_prototypes, generator=generator)
    rows, weight, u, v = (tensor.to(device) for tensor in (rows, weight, u, v))
    strip = FusedStrip(Logits(rows, weight, 0.05, dtype))
    held = HeldStrip(Logits(rows.double(), weight.double(), 0.05, torch.float64).matrix())
    return [
        (strip.over_rows(u), held.over_rows(u)),
        (strip.over_columns(v), held.over_columns(v)),
        (strip.over_columns(), held.over_columns()),
    ]


def part(level: Level, rows: slice) -> Level:
    """Some rows of a level where row meets row, in fp32."""
    mine = {name: getattr(level, name)[rows] for name in ("student_rows", "teacher_rows")}
    row = torch.arange(len(mine["student_rows"]))
    pairs = replace(level.pairs, student=row, teacher=row, weight=level.pairs.weight[rows])
    return replace(level, pairs=pairs, **mine).to(torch.float32)


def by_interpreter(rank: int) -> dict[str, Any]:
    """All that the tests below look at, since a process takes seconds to start: one rank has all rows, or most."""
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, in this process
    nothing = part(LEVELS["ibot"], slice(0))
    wholes = {name: find(Fused(400_000), nothing if rank else LEVELS[name].to(torch.float32)) for name in LEVELS}
    shares = find(Fused(400_000), part(LEVELS["ibot"], slice(30, 141) if rank else slice(30)))
    dtypes = (torch.float32, torch.bfloat16)
    return {
        "sums": {f"{size} {dtype}": sums(size, dtype) for size in SIZES for dtype in dtypes if rank == 0},
        "wholes": {name: vars(found) for name, found in wholes.items()},
        "shares": vars(shares),
        "bf16": vars(find(Fused(400_000), part(LEVELS["ibot"], slice(0 if rank else 141)), precision=torch.bfloat16)),
    }


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return run_ranks(by_interpreter, start_method="spawn")


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_sums_what_a_held_matrix_sums(
    ranks: list[dict[str, Any]], size: tuple[int, int, int], dtype: torch.dtype
) -> None:
    for found, expected in ranks[0]["sums"][f"{size} {dtype}"]:
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-5)


@needs_triton
@pytest.mark.parametrize("name", LEVELS)
def test_equals_the_dense_form_also_beside_a_rank_without_rows(ranks: list[dict[str, Any]], name: str) -> None:
    found, expected = Found(**ranks[0]["wholes"][name]), find(Dense(), LEVELS[name].to(torch.float32))
    assert max(errors(found, expected).values()) < 1e-5
    assert torch.equal(ranks[1]["wholes"][name]["potentials"], found.potentials)


@needs_triton
def test_bf16_products_stay_near_exact(ranks: list[dict[str, Any]]) -> None:
    error = errors(Found(**ranks[0]["bf16"]), find(Dense(), LEVELS["ibot"].to(torch.float32)))
    assert error["potentials"] < 1e-6  # the teacher's products are fp32 always
    # The interpreter cuts off the bits of bf16 that hardware rounds: all products are a little too small.
    assert error["loss"] < 5e-3 and error["of_bottleneck"] < 0.04 and error["of_weight"] < 0.04


@needs_triton
def test_two_ranks_share_their_potentials(ranks: list[dict[str, Any]]) -> None:
    expected = find(Dense(), LEVELS["ibot"].to(torch.float32))
    for rank in ranks:
        torch.testing.assert_close(rank["shares"]["potentials"], expected.potentials, rtol=1e-5, atol=1e-5)
    normalizers = torch.cat([rank["shares"]["normalizers"] for rank in ranks])
    torch.testing.assert_close(normalizers, expected.normalizers, rtol=1e-5, atol=1e-5)


def test_float64_is_summed_as_in_the_chunked_form() -> None:
    found, expected = find(Fused(400_000), LEVELS["odd"]), find(Dense(), LEVELS["odd"])
    assert max(errors(found, expected).values()) < 1e-13


def test_a_device_without_the_kernel_is_named() -> None:
    assert why_not(torch.device("cpu")) == "needs a CUDA device, not cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", SIZES)
def test_the_compiled_kernel_sums_what_a_held_matrix_sums(size: tuple[int, int, int], dtype: torch.dtype) -> None:
    for found, expected in sums(size, dtype, torch.device("cuda")):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=5e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", LEVELS)
def test_on_cuda_all_forms_are_equal(name: str) -> None:
    level = LEVELS[name].to(torch.float32).to(torch.device("cuda"))
    expected = find(Dense(), level)
    for backend in (Chunked(400_000), Fused(400_000)):
        assert max(errors(find(backend, level), expected).values()) < 1e-5
        error = errors(find(backend, level, precision=torch.bfloat16), expected)
        assert error["loss"] < 1e-3 and error["of_bottleneck"] < 0.02 and error["of_weight"] < 0.02
