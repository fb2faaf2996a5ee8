from __future__ import annotations

import pickle
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from franca.data.plan import SamplePlan
from franca.errors import ConfigError, DataError

shards = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any)


@given(
    sizes=shards, order=st.sampled_from(["full", "lanes"]), lanes=st.integers(1, 9), window=st.integers(1, 30),
    seed=st.integers(0, 2**32), number=st.integers(0, 5),
)  # fmt: skip
def test_each_pass_shows_every_sample_once(
    sizes: list[int], order: str, lanes: int, window: int, seed: int, number: int
) -> None:
    plan = SamplePlan(sizes, seed=seed, order=order, num_lanes=lanes, window=window)
    n = sum(sizes)
    assert np.array_equal(np.sort(plan.samples(number * n + np.arange(n))), np.arange(n))


@pytest.mark.parametrize("order", ["full", "lanes"])
def test_a_position_has_one_sample_however_it_is_asked_for(order: str) -> None:
    sizes = [50, 0, 70, 31, 99]
    positions = np.arange(3 * sum(sizes))
    together = SamplePlan(sizes, seed=1, order=order, num_lanes=4, window=16).samples(positions)
    plan = pickle.loads(pickle.dumps(SamplePlan(sizes, seed=1, order=order, num_lanes=4, window=16)))
    backwards = np.array([plan.samples([position])[0] for position in positions[::-1]])[::-1]
    assert np.array_equal(together, backwards)


@pytest.mark.parametrize("order", ["full", "lanes"])
def test_passes_and_seeds_have_orders_of_their_own(order: str) -> None:
    def of_pass(seed: int, number: int) -> np.ndarray:
        return SamplePlan([100] * 10, seed=seed, order=order, num_lanes=4, window=64).samples(
            number * 1000 + np.arange(1000)
        )

    orders = [of_pass(0, 0), of_pass(0, 1), of_pass(1, 0)]
    same = [np.mean(a == b) for i, a in enumerate(orders) for b in orders[:i]]
    assert max(same) < 0.02


def test_lanes_are_contiguous_rows_of_whole_shards_in_turn() -> None:
    # A window of one sample does not shuffle, so the order of reading can be written down by hand.
    sizes = [60, 60, 60, 60]
    order = SamplePlan(sizes, seed=3, order="lanes", num_lanes=2, window=1).samples(np.arange(240))
    lanes = [order[0::2], order[1::2]]
    for lane in lanes:
        for shard in (lane[:60], lane[60:]):
            assert np.array_equal(shard, shard[0] // 60 * 60 + np.arange(60))
    assert sorted(lane[i] // 60 for lane in lanes for i in (0, 60)) == [0, 1, 2, 3]


def test_a_lane_stays_within_its_window() -> None:
    plan = SamplePlan([100] * 100, seed=0, order="lanes", num_lanes=10, window=200)
    samples = plan.samples(np.arange(10_000))
    for lane in range(10):
        touched = [len(np.unique(samples[lane::10][start : start + 50] // 100)) for start in range(0, 1000, 50)]
        assert max(touched) <= 5  # two windows, each within three shards, one of them shared
    assert np.median([len(np.unique(samples[start : start + 100] // 100)) for start in range(0, 10_000, 100)]) > 15


@pytest.mark.parametrize("size", [20, 40, 64, 200])
def test_few_samples_are_shuffled_in_lanes_too(size: int) -> None:
    orders = {tuple(SamplePlan([size], seed=seed, order="lanes").samples(np.arange(size))) for seed in range(8)}
    assert len(orders) == 8
    assert all(sorted(order) == list(range(size)) for order in orders)


def test_window_borders_move_from_pass_to_pass() -> None:
    # The set of the first 8 samples of a lane would be one full window each time if borders stood still.
    plan = SamplePlan([64], seed=0, order="lanes", num_lanes=1, window=8)
    aligned = [set(plan.samples(64 * number + np.arange(8)).tolist()) == set(range(8)) for number in range(40)]
    assert sum(aligned) < 20


def test_auto_takes_lanes_only_for_many_samples() -> None:
    assert SamplePlan([4_000_000], seed=0).order == "full"
    assert SamplePlan([4_000_001], seed=0).order == "lanes"


def test_lanes_mix_in_the_full_order_too() -> None:
    samples = SamplePlan([1000], seed=0).samples(np.arange(1000))
    assert abs(np.corrcoef(samples, np.arange(1000))[0, 1]) < 0.15


def test_six_hundred_million_samples_start_anywhere_at_once() -> None:
    sizes = [10_000] * 60_000
    tracemalloc.start()
    begin = time.perf_counter()
    plan = SamplePlan(sizes, seed=0)
    positions = int(0.9 * 600_000_000) + np.arange(4096)
    samples = plan.samples(positions)
    seconds = time.perf_counter() - begin
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert plan.order == "lanes"
    assert len(np.unique(samples)) == 4096
    assert samples.min() >= 0
    assert samples.max() < 600_000_000
    assert seconds < 1
    assert peak_bytes < 50e6


def test_replacements_are_fixed_and_come_from_what_is_being_read() -> None:
    plan = SamplePlan([100] * 1000, seed=0, order="lanes", num_lanes=10, window=100)
    again = SamplePlan([100] * 1000, seed=0, order="lanes", num_lanes=10, window=100)
    choices = [plan.replacement(position, attempt) for position in range(1230, 1300) for attempt in range(3)]
    assert choices == [again.replacement(position, attempt) for position in range(1230, 1300) for attempt in range(3)]
    assert len(set(choices)) > 100
    being_read = plan.samples(1230 + np.arange(10 * 200)) // 100  # all lanes, this window of theirs and the next
    assert {choice // 100 for choice in choices} <= set(being_read.tolist())


def test_a_shard_that_is_bad_as_a_whole_can_be_replaced() -> None:
    # One shard of 100 is bad. Each of its samples needs hardly more than one replacement, even with a single lane.
    for num_lanes, most in ((64, 1.1), (1, 6.0)):
        plan = SamplePlan([500] * 100, seed=1, order="lanes", num_lanes=num_lanes, window=50)
        positions = np.flatnonzero(plan.samples(np.arange(50_000)) // 500 == 7)
        tries = [next(a for a in range(16) if plan.replacement(int(p), a) // 500 != 7) + 1 for p in positions[::25]]
        assert np.mean(tries) < most


def test_the_only_sample_replaces_itself() -> None:
    assert SamplePlan([1], seed=0).replacement(5, 0) == 0


def dealt(plan: SamplePlan, steps: range, *, batch: int, ranks: int, workers: int) -> np.ndarray:
    """What each rank sees in each step [steps, ranks, images]: its workers take turns at micro-batches of one image."""
    share = batch // ranks
    positions = np.array(steps)[:, None] * batch + np.arange(batch)
    seen = np.empty((len(steps), ranks, share), np.int64)
    for rank in range(ranks):
        items = positions[:, rank * share : (rank + 1) * share].ravel()
        made = np.empty_like(items)
        for worker in range(workers or 1):
            made[worker :: workers or 1] = plan.samples(items[worker :: workers or 1])
        seen[:, rank] = made.reshape(len(steps), share)
    return seen


@pytest.mark.parametrize("num_shards", [1, 3, 7, 64])
@pytest.mark.parametrize("order", ["full", "lanes"])
def test_ranks_and_workers_change_nothing_and_none_idles(num_shards: int, order: str) -> None:
    """Also where there are fewer shards than ranks times workers."""
    rng = np.random.default_rng(num_shards)
    sizes = rng.integers(1, 40, num_shards)
    sizes[-1] += -sizes.sum() % 24  # so that a pass is a whole number of steps
    n, batch = int(sizes.sum()), 24
    plan = SamplePlan(sizes, seed=num_shards, order=order, num_lanes=8, window=16)
    expected = plan.samples(np.arange(2 * n))
    for ranks in (1, 2, 3, 8):
        for workers in (0, 1, 4):
            order_seen = dealt(plan, range(2 * n // batch), batch=batch, ranks=ranks, workers=workers).ravel()
            assert np.array_equal(order_seen, expected)  # each step sees what one process would, and nobody idles
            first, second = order_seen[:n], order_seen[n:]
            assert np.array_equal(np.sort(first), np.arange(n)) and np.array_equal(np.sort(second), np.arange(n))
            assert n < 30 or not np.array_equal(first, second)


def test_a_change_of_ranks_and_workers_loses_and_repeats_nothing() -> None:
    sizes = [30, 41, 25, 24]
    plan = SamplePlan(sizes, seed=3, order="lanes", num_lanes=4, window=16)
    made = dealt(plan, range(6), batch=12, ranks=2, workers=3)
    before = made[:4]  # steps 4 and 5 were made ahead, and are lost with the workers: they are made again
    after = dealt(plan, range(4, 10), batch=12, ranks=4, workers=1)
    seen = np.concatenate([before.ravel(), after.ravel()])
    assert np.array_equal(np.sort(seen), np.arange(120))


def class_entropy(classes: np.ndarray, batch: int) -> float:
    """Mean over batches, in nats."""
    entropies = []
    for start in range(0, len(classes), batch):
        share = np.unique(classes[start : start + batch], return_counts=True)[1] / batch
        entropies.append(-(share * np.log(share)).sum())
    return float(np.mean(entropies))


def test_one_class_a_tar_still_gives_mixed_batches() -> None:
    """21,841 synsets, as in ImageNet-21K: no batch is of few classes although each tar is of one."""
    rng = np.random.default_rng(0)
    sizes = np.maximum(1, rng.gamma(2.0, 300, 21_841)).astype(np.int64)  # 13 million
    positions = int(0.4 * sizes.sum()) + np.arange(8 * 2048)
    ends = np.cumsum(sizes)
    entropy = {
        order: class_entropy(np.searchsorted(ends, plan.samples(positions), side="right"), 2048)
        for order in ("full", "lanes")
        if (plan := SamplePlan(sizes, seed=0, order=order))
    }
    assert entropy["full"] == pytest.approx(7.55, abs=0.05)  # nearly ln 2048 = 7.62: hardly two images share a class
    assert entropy["lanes"] > np.log(500)  # as if 500 classes had equal shares of a batch


@pytest.mark.parametrize("sizes", [[], [0, 0]])
def test_no_sample_is_an_error(sizes: list[int]) -> None:
    with pytest.raises(DataError, match="no sample"):
        SamplePlan(sizes, seed=0)


def test_an_unknown_order_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'random'.*auto, full, lanes"):
        SamplePlan([3], seed=0, order="random")
