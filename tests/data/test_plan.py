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
    sizes = [6, 6, 6, 6]
    order = SamplePlan(sizes, seed=3, order="lanes", num_lanes=2, window=1).samples(np.arange(24))
    lanes = [order[0::2], order[1::2]]
    for lane in lanes:
        for shard in (lane[:6], lane[6:]):
            assert np.array_equal(shard, shard[0] // 6 * 6 + np.arange(6))
    assert sorted(lane[i] // 6 for lane in lanes for i in (0, 6)) == [0, 1, 2, 3]


def test_a_lane_stays_within_its_window() -> None:
    plan = SamplePlan([100] * 100, seed=0, order="lanes", num_lanes=10, window=200)
    samples = plan.samples(np.arange(10_000))
    for lane in range(10):
        touched = [len(np.unique(samples[lane::10][start : start + 50] // 100)) for start in range(0, 1000, 50)]
        assert max(touched) <= 5  # two windows, each within three shards, one of them shared
    assert np.median([len(np.unique(samples[start : start + 100] // 100)) for start in range(0, 10_000, 100)]) > 15


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


def test_replacements_are_fixed_and_come_from_the_same_stretch_of_data() -> None:
    plan = SamplePlan([100] * 100, seed=0, order="lanes", num_lanes=10, window=100)
    again = SamplePlan([100] * 100, seed=0, order="lanes", num_lanes=10, window=100)
    choices = [plan.replacement(1230, attempt) for attempt in range(40)]
    assert choices == [again.replacement(1230, attempt) for attempt in range(40)]
    assert len(set(choices)) > 20
    assert int(plan.samples([1230])[0]) not in choices
    assert len({choice // 100 for choice in choices}) <= 5


def test_the_only_sample_replaces_itself() -> None:
    assert SamplePlan([1], seed=0).replacement(5, 0) == 0


@pytest.mark.parametrize("sizes", [[], [0, 0]])
def test_no_sample_is_an_error(sizes: list[int]) -> None:
    with pytest.raises(DataError, match="no sample"):
        SamplePlan(sizes, seed=0)


def test_an_unknown_order_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'random'.*auto, full, lanes"):
        SamplePlan([3], seed=0, order="random")
