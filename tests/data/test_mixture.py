"""Several sources with shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from franca.config.schema import SyntheticConfig
from franca.data.mixture import MixturePlan, MixtureSource, make_plan, mix
from franca.data.plan import SamplePlan
from franca.data.sample import EncodedSource
from franca.data.synthetic import SyntheticSource
from franca.errors import ConfigError

from .fake import FakeSource


def plan_of(sizes: list[int], weights: list[float], seed: int = 0) -> MixturePlan:
    plan = make_plan(mix([FakeSource(size) for size in sizes], weights), seed=seed)
    assert isinstance(plan, MixturePlan)
    return plan


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=5),
    start=st.integers(0, 10**12),
    length=st.integers(1, 500),
    seed=st.integers(0, 2**40),
)
def test_each_source_has_its_share_of_any_stretch(weights: list[float], start: int, length: int, seed: int) -> None:
    plan = plan_of([10] * len(weights), weights, seed)
    sources, turns = plan.deal(start + np.arange(length))
    for source, weight in enumerate(weights):
        mine = turns[sources == source]
        assert abs(len(mine) - length * weight / sum(weights)) <= len(weights) + 1
        assert np.array_equal(mine, mine[:1] + np.arange(len(mine)))  # its turns follow each other, none is left out


@pytest.mark.parametrize("weights", [[1.0], [2.0, 1.0], [1.0, 1.0, 1.0], [5.0, 0.1, 3.0, 2.0]])
def test_turns_count_from_the_first_position(weights: list[float]) -> None:
    sources, turns = plan_of([7] * len(weights), weights).deal(np.arange(3000))
    for source in range(len(weights)):
        assert np.array_equal(turns[sources == source], np.arange((sources == source).sum()))


def test_every_source_runs_exact_passes_of_its_own() -> None:
    plan = plan_of([30, 7], [1, 2])
    samples = plan.samples(np.arange(900))
    small, large = samples[samples >= 30] - 30, samples[samples < 30]
    assert (len(large), len(small)) == (300, 600)
    assert all(np.array_equal(np.sort(large[i : i + 30]), np.arange(30)) for i in range(0, 300, 30))
    assert all(np.array_equal(np.sort(small[i : i + 7]), np.arange(7)) for i in range(0, 595, 7))


def test_a_position_has_one_sample_however_it_is_asked_for() -> None:
    together = plan_of([30, 7, 12], [1, 2, 0.5], seed=4).samples(np.arange(400))
    plan = plan_of([30, 7, 12], [1, 2, 0.5], seed=4)
    assert [int(plan.samples([position])[0]) for position in range(399, -1, -1)] == together[::-1].tolist()
    assert not np.array_equal(together, plan_of([30, 7, 12], [1, 2, 0.5], seed=5).samples(np.arange(400)))


def test_the_same_source_twice_runs_through_two_orders() -> None:
    samples = plan_of([50, 50], [1, 1]).samples(np.arange(100))
    assert not np.array_equal(samples[samples < 50], samples[samples >= 50] - 50)


def test_a_replacement_is_of_the_same_source() -> None:
    plan = plan_of([30, 20], [1, 1])
    for position in range(60):
        sample = int(plan.samples([position])[0])
        assert all((plan.replacement(position, attempt) < 30) == (sample < 30) for attempt in range(8))


def test_samples_count_through_the_sources() -> None:
    source = mix(
        [FakeSource(3), SyntheticSource(SyntheticConfig(num_images=4, size_px=16), "train"), FakeSource(2)], [1, 2, 1]
    )
    assert (len(source), source.group_sizes, source.shares) == (9, (3, 4, 2), [0.25, 0.5, 0.25])
    assert [source.read(index).key for index in (0, 2, 3, 6, 7, 8)] == [
        "0", "2", "train/00000000", "train/00000003", "0", "1",
    ]  # fmt: skip
    assert not isinstance(source, EncodedSource)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_wrong_weights(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"data\.weights"):
        MixtureSource([FakeSource(3), FakeSource(3)], weights)


def test_one_source_keeps_its_plan_and_remote_shards_are_read_in_lanes() -> None:
    source = FakeSource(100)
    plan = make_plan(source, seed=3)
    assert isinstance(plan, SamplePlan)
    assert np.array_equal(plan.samples(np.arange(100)), SamplePlan([100], seed=3).samples(np.arange(100)))
    source.is_remote = True  # type: ignore[attr-defined]
    remote, forced = make_plan(source, seed=3), make_plan(source, seed=3, order="full")
    assert isinstance(remote, SamplePlan) and isinstance(forced, SamplePlan)
    assert (remote.order, forced.order) == ("lanes", "full")
