"""Exact neighbours within a budget: chunked against dense, and what it holds at most."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from benchmarks.memory import peak_bytes
from franca.errors import DataError
from franca.evaluation.neighbours import MIB, Bank, Blocks

GENERATOR = torch.Generator().manual_seed(0)
BANK, QUERIES = torch.randn(500, 12, generator=GENERATOR) + 0.5, torch.randn(40, 12, generator=GENERATOR) + 0.5


def dense(k: int) -> torch.Tensor:
    """Rows of the k nearest, by one product in double precision."""
    return (normalize(QUERIES.double()) @ normalize(BANK.double()).T).topk(k, dim=1).indices


@pytest.mark.parametrize("num_bank_rows", [500, 499, 64, 20, 7])
@pytest.mark.parametrize("k", [1, 20])
def test_chunked_equals_dense(num_bank_rows: int, k: int) -> None:
    bank = Bank(BANK, Blocks(num_queries=40, num_bank_rows=num_bank_rows))
    similarity, rows = bank.nearest(QUERIES, k)
    assert torch.equal(rows, dense(k))
    cosine = (normalize(QUERIES)[:, None] * normalize(BANK)[rows]).sum(-1)
    torch.testing.assert_close(similarity - similarity[:, :1], cosine - cosine[:, :1], atol=1e-5, rtol=0)


def test_k_may_be_the_whole_bank() -> None:
    _, rows = Bank(BANK, Blocks(40, 64)).nearest(QUERIES, 500)
    assert torch.equal(rows.sort(1).values, torch.arange(500).expand(40, 500))


def test_columns_are_taken_before_vectors_get_length_1() -> None:
    narrow = Bank(BANK, Blocks(40, 64), columns=lambda rows: rows[:, :5]).nearest(QUERIES, 20)
    cut = Bank(BANK[:, :5], Blocks(40, 64)).nearest(QUERIES[:, :5], 20)
    assert torch.equal(narrow[1], cut[1])


def test_a_bank_in_half_precision_is_compared_in_fp32() -> None:
    _, rows = Bank(BANK.half(), Blocks(40, 64)).nearest(QUERIES, 20)
    expected = Bank(BANK.half().float(), Blocks(40, 64)).nearest(QUERIES, 20)[1]
    assert torch.equal(rows, expected)


def test_the_bank_is_not_changed() -> None:
    before = BANK.clone()
    Bank(BANK, Blocks(40, 500)).nearest(QUERIES, 3)
    assert torch.equal(BANK, before)


@pytest.mark.parametrize("memory_mib", [12, 32])
def test_memory_stays_within_the_budget(memory_mib: int) -> None:
    """What torch allocates, beside the features as stored; without chunks the similarities alone were 122 MiB."""
    bank, queries = torch.randn(20_000, 64).half(), torch.randn(1600, 64)
    blocks = Blocks.within(memory_mib, num_bank=20_000, num_queries=1600, width=64, k=200)

    def search() -> None:
        found = Bank(bank, blocks)
        for some in queries.split(blocks.num_queries):
            found.nearest(some, 200)

    peak = peak_bytes(search, torch.device("cpu"))
    assert 0.2 * memory_mib * MIB < peak <= memory_mib * MIB


def test_imagenet_fits_into_the_default_budget() -> None:
    blocks = Blocks.within(1024, num_bank=1_281_167, num_queries=50_000, width=1024, k=200)
    assert blocks.num_bank_rows == 8192 and blocks.num_queries > 10_000


def test_small_sets_take_one_block() -> None:
    assert Blocks.within(1024, num_bank=300, num_queries=120, width=16, k=20) == Blocks(120, 300)


def test_a_budget_too_small_names_the_least() -> None:
    with pytest.raises(DataError, match=r"memory_mib=10 is too little .* at least memory_mib=(\d+)") as caught:
        Blocks.within(10, num_bank=100_000, num_queries=1000, width=1024, k=200)
    least = int(str(caught.value).rsplit("=", 1)[1])
    assert Blocks.within(least, num_bank=100_000, num_queries=1000, width=1024, k=200).num_queries >= 16
